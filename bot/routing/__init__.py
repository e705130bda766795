"""Where an event goes: the rules, their file, the debounce of comings and goings, and lanes."""

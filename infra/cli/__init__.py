"""The commands that work on stacks: deploy, destroy and outputs."""

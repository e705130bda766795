"""Runs the relay on one machine: an embedded AWS for the templates, a stand-in for Discord, and the demo."""

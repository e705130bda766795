"""Discord's gateway, by discord.py: payloads in, frame by frame.

Interactions (slash commands, buttons) arrive here too, and so far none is handled.
"""

"""Discord's gateway, by discord.py: payloads in, frame by frame."""

"""The container: Discord in, signed requests out."""

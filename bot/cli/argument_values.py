"""Values on the command line that more than one command takes."""

import argparse


def snowflake(text: str) -> str:
    """Return *text* if it is an id of Discord's."""
    from bot.voice.payloads import parse_id

    if parse_id(text) is None:
        raise argparse.ArgumentTypeError("must be an id: up to 20 digits")
    return text

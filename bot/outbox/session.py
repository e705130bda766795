"""The gateway's session of a shard, and how far it has been taken in."""

# https://docs.discord.com/developers/events/gateway#resuming

from typing import NamedTuple


class Session(NamedTuple):
    """What a RESUME needs to name a session, by any process; ``bot_id`` is the bot that it belongs to."""

    shard_id: int
    shard_count: int
    bot_id: str
    session_id: str
    resume_url: str


class Position(NamedTuple):
    """Everything up to the frame numbered ``seq`` has been taken in."""

    session: Session
    seq: int

"""Ids in Discord's shape, the same on every run: nothing about them is random or read from the clock."""

from collections import Counter

# A snowflake is milliseconds since 2015-01-01, then 22 bits; the sum here is 2022-02-03T16:40:00Z.
# https://docs.discord.com/developers/reference#snowflakes
_FIRST_MS = 223_836_000_000

# Kinds sit in the bits that Discord uses for the worker, so two kinds never share an id.
_KINDS = ("guild", "channel", "user", "role", "webhook", "message", "application")


class Snowflakes:
    """Counts ids up, one millisecond apart within a kind, so neighbouring guilds fall on neighbouring shards.

    *seed* (0 to 4095) tells the ids of two worlds apart.
    """

    def __init__(self, seed: int = 0) -> None:
        if not 0 <= seed < 1 << 12:
            raise ValueError("a snowflake has room for a seed from 0 to 4095")
        self._seed = seed
        self._made: Counter[str] = Counter()

    def make(self, kind: str) -> str:
        """Return the next id of *kind*, one of those above."""
        count = self._made[kind]
        self._made[kind] += 1
        return str((_FIRST_MS + count) << 22 | _KINDS.index(kind) << 12 | self._seed)


def shard_of(guild_id: int, shard_count: int) -> int:
    """Return the shard that hears of a guild."""
    # https://docs.discord.com/developers/events/gateway#sharding
    return (guild_id >> 22) % shard_count

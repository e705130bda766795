"""Discord-like ids, the same on every run: neither random nor from the clock."""

from collections import Counter

# A snowflake is milliseconds since 2015-01-01, then 22 bits; these start at 2022-02-03T16:40:00Z.
# https://docs.discord.com/developers/reference#snowflakes
_FIRST_MS = 223_836_000_000

# The kind is in the bits that Discord uses for the worker, so ids of two kinds never collide.
_KINDS = (
    "guild",
    "channel",
    "user",
    "role",
    "webhook",
    "message",
    "application",
    "owner",
    "bot role",
    "interaction",
)


class Snowflakes:
    """Makes ids one millisecond apart within a kind, so that consecutive guilds get consecutive shards.

    *seed* (0 to 4095) keeps the ids of two worlds distinct.
    """

    def __init__(self, seed: int = 0) -> None:
        if not 0 <= seed < 1 << 12:
            raise ValueError("the seed must be from 0 to 4095")
        self._seed = seed
        self._made: Counter[str] = Counter()

    def make(self, kind: str) -> str:
        """Return the next id of *kind*, one of ``_KINDS``."""
        count = self._made[kind]
        self._made[kind] += 1
        return str((_FIRST_MS + count) << 22 | _KINDS.index(kind) << 12 | self._seed)


def shard_of(guild_id: int, shard_count: int) -> int:
    """Return the shard that receives a guild's events."""
    # https://docs.discord.com/developers/events/gateway#sharding
    return (guild_id >> 22) % shard_count

"""What really happened in the voice channels, for a test to hold the bot's account against."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from infra.local.discord.model import NO_FLAGS, Flag

Kind = Literal["joined", "left", "moved", "updated"]

# live: at least one connected session was sent it. buffered: it waits for a session to resume.
# unseen: no session was told; it shows only as a difference between two snapshots.
Reach = Literal["live", "buffered", "unseen"]


class Transition(NamedTuple):
    """One change of one person's voice state.

    ``channel_id`` is where the person is now (``None`` after ``left``); ``previous_channel_id`` where they
    were (``None`` after ``joined`` and ``updated``). ``changes`` has the flags that a ``moved`` or an
    ``updated`` changed, with their new values; ``flags`` those that are on afterwards, or were on at the end
    of a visit. ``at`` is in seconds since the Unix epoch.
    """

    kind: Kind
    guild_id: str
    user_id: str
    channel_id: str | None
    previous_channel_id: str | None
    changes: Mapping[str, bool]
    reach: Reach
    at: float
    flags: Flag = NO_FLAGS


class TransitionLog:
    """Transitions in the order in which they happened, at most the last *limit* of them."""

    def __init__(self, limit: int | None = None) -> None:
        self._kept: deque[Transition] = deque(maxlen=limit)
        self.reached: Counter[Reach] = Counter()

    def append(self, transition: Transition) -> None:
        self._kept.append(transition)
        self.reached[transition.reach] += 1

    def of_guild(self, guild_id: str) -> list[Transition]:
        return [transition for transition in self._kept if transition.guild_id == guild_id]

    def clear(self) -> None:
        self._kept.clear()
        self.reached.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Transition]:
        return iter(self._kept)

    def __getitem__(self, index: int) -> Transition:
        return self._kept[index]

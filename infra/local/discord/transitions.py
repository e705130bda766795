"""The log of what really happened in the voice channels, to compare the bot's events with."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from infra.local.discord.model import NO_FLAGS, Flag

Kind = Literal["joined", "left", "moved", "updated"]

# live: sent to at least one connected session. buffered: kept for a session to resume.
# unseen: not sent to any session; visible only as a difference between two snapshots.
Reach = Literal["live", "buffered", "unseen"]


class Transition(NamedTuple):
    """One change of a user's voice state.

    ``channel_id`` is the channel afterwards (``None`` for ``left``), ``previous_channel_id`` the one before
    (``None`` for ``joined`` and ``updated``). ``changes`` has the flags that a ``moved`` or ``updated``
    changed, with their new values; ``flags`` those set afterwards, or before a ``left``. ``at`` is in
    seconds since the Unix epoch.
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
    """The last *limit* transitions, oldest first; all of them without a limit."""

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

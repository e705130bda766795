"""Which guilds had observations let go, because the disk or the file had no room, and how each recovers.

A guild is lost from its first observation that is let go until its resync is committed, by itself: what
happens in other guilds meanwhile is theirs.

    watched   ── an observation is let go ──▶ lost: let go of the rest too
    lost      ── the next commit ──▶ written down: unwatched since, why
    written   ── there is room ──▶ asked: what is on disk is compared with what is known now
    asked     ── the answer: a gap and the differences ──▶ mending
    mending   ── committed ──▶ watched
    mending   ── let go, the file is full again ──▶ lost, since the same time

The loss is written in the first transaction that is committed after it. That needs hardly any room, because
the guild has a row already, and the bound of the file is for events. While not even that fits on the disk, no
transaction does, so that a restart goes by the last commit before.
"""

from collections.abc import Iterable, Mapping


class Losses:
    """The guilds that are lost now; ``dropping`` while all that is captured is let go.

    ``mended`` counts those that have recovered.
    """

    def __init__(self) -> None:
        self.dropping = False
        self.mended = 0
        self._since_ms: dict[str, int] = {}
        self._unwritten: set[str] = set()
        self._asked: set[str] = set()
        self._mending: dict[str, int] = {}

    def holds(self, guild_id: str) -> bool:
        """Tell whether to let go of what is captured in the guild."""
        return self.dropping or guild_id in self._since_ms

    def __len__(self) -> int:
        return len(self._since_ms)

    def add(self, guild_ids: Iterable[str], since_ms: int) -> None:
        """Note that observations of these guilds from after *since_ms* are let go."""
        for guild_id in guild_ids:
            if guild_id not in self._since_ms:
                self._since_ms[guild_id] = self._mending.pop(guild_id, since_ms)
                self._unwritten.add(guild_id)

    def unwritten(self) -> Mapping[str, int]:
        """Return the losses to write down next: since when each of these guilds is unwatched."""
        return {guild_id: self._since_ms[guild_id] for guild_id in self._unwritten}

    def to_ask(self) -> set[str]:
        """Return the guilds whose resync is to be asked for."""
        return self._since_ms.keys() - self._asked - self._unwritten

    def ask(self, guild_ids: Iterable[str]) -> None:
        """Note that the resync of these guilds was asked for."""
        self._asked.update(guild_ids)

    def answer(self, guild_ids: Iterable[str]) -> None:
        """Note that the resyncs of these guilds are about to be committed."""
        for guild_id in guild_ids:
            self._asked.discard(guild_id)
            self._mending[guild_id] = self._since_ms.pop(guild_id)

    def commit(self) -> None:
        """Note that everything up to here is on disk."""
        self._unwritten.clear()
        self.mended += len(self._mending)
        self._mending.clear()

"""Debounce: holds a coming or going until it has settled, and merges what follows into it.

Each debounce time of the rules sees a stream of its own for each person: what is left of their comings and
goings once those that follow each other within that time are merged. Of a stream at most one event is held:

    held before            followed by            held after
    nothing                joined, left, moved    that event
    origin → somewhere     ... → elsewhere        origin → elsewhere, as one event
    origin → somewhere     ... → origin           nothing to tell: the person is back where they were
    origin → somewhere     updated                the same, with the newer flags

So leaving and coming back is nothing, joining A and moving to B is joining B, and A → B → A is nothing. Each
change restarts the wait.

The rules are asked about what is left, not about each step: a rule for ``joined`` alone does not tell of a
join that was undone, although it does not see the leave. A stream takes every step of the person, whatever
its type, and what is left may go elsewhere than the first step, or nowhere.

Somebody who is back at their origin has never left it, as far as is told. So the stream keeps since when they
are there, and the stay that ends some day is told in its whole length.

Waits are measured by elapsed time, which no clock that is set can shorten or stretch. Of what an earlier
process held, the system time says how much of the wait is left, but never more than all of it.

Pure: the caller commits what is held together with what caused it, and asks for what is due.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

from bot.routing.rules import Route
from bot.voice.events import Channel, VoiceChanges, VoiceData, VoiceEvent, VoiceEventType

AskRules = Callable[[VoiceEvent], Sequence[Route]]
"""Returns where an event goes."""


class HeldKey(NamedTuple):
    """One person's stream of one debounce time."""

    guild_id: str
    user_id: str
    debounce_ms: int


@dataclass(frozen=True, slots=True)
class Held:
    """``event`` takes the person from ``origin`` to where they are now; once due, it goes to ``routes``.

    Without routes there is nothing to tell. ``since_ms`` is when they came to their origin, ``stay_s`` how
    long they were there when they left it; both are ``None`` if unknown. ``due_ms`` is by the system time.
    """

    origin: Channel | None
    since_ms: int | None
    stay_s: float | None
    event: VoiceEvent
    routes: tuple[Route, ...]
    due_ms: int

    @property
    def is_back(self) -> bool:
        """Whether the person is at their origin."""
        channel = self.event["data"]["channel"]
        return self.origin is not None and channel is not None and channel["id"] == self.origin["id"]


class Taken(NamedTuple):
    """``routes`` is where an event goes at once, ``held`` what it changed of what is held of the person."""

    routes: Sequence[Route]
    held: Mapping[HeldKey, Held | None]


class Debouncer:
    """Holds events back; *held* is what an earlier process held.

    *people_in* counts the people in a channel now, by the ids of its guild and of itself. Times are
    milliseconds: ``now_ms`` by the system time, ``elapsed_ms`` by a clock that is never set.
    """

    def __init__(
        self,
        held: Mapping[HeldKey, Held],
        people_in: Callable[[str, str], int],
        *,
        now_ms: int,
        elapsed_ms: int,
    ) -> None:
        self._people_in = people_in
        self._held: dict[tuple[str, str], dict[HeldKey, Held]] = {}
        self._due_ms: dict[HeldKey, int] = {}
        for key, one in held.items():
            left_ms = min(max(0, one.due_ms - now_ms), key.debounce_ms)
            self._keep(key, one, elapsed_ms + left_ms)

    @property
    def holds(self) -> bool:
        """Whether there is a stream that the next event may be part of."""
        return bool(self._held)

    def count(self) -> int:
        """Return how many events wait to be told."""
        return sum(bool(one.routes) for own in self._held.values() for one in own.values())

    def take(
        self, event: VoiceEvent, debounces: Collection[int], ask: AskRules, *, now_ms: int, elapsed_ms: int
    ) -> Taken:
        """Take *event* into the person's streams: those of *debounces*, in milliseconds, and the others."""
        person = event["data"]["guild"]["id"], event["data"]["user"]["id"]
        own = self._held.get(person, {})
        waited_for = {route.target for held in own.values() for route in held.routes}
        routes = [route for route in ask(event) if route.target not in waited_for]
        if event["type"] == "discord.voice.updated":
            return Taken(routes, self._update(own, event))
        changed: dict[HeldKey, Held | None] = {}
        for key in dict.fromkeys([*own, *(HeldKey(*person, debounce_ms) for debounce_ms in debounces)]):
            before = own.get(key)
            after = self._begin(key, event, None, now_ms)
            if before is not None:
                after = self._merge(before, key, event, now_ms)
            if after is not None:
                told = () if before is None else before.routes
                after = replace(after, routes=_routes_of(after, key, ask, told))
            changed[key] = after
        for key, after in changed.items():
            self._drop(key)
            if after is not None:
                self._keep(key, after, elapsed_ms + key.debounce_ms)
        return Taken([route for route in routes if not route.debounce_ms], changed)

    def release(
        self, elapsed_ms: int, is_watched: Callable[[str], bool] = lambda _: True
    ) -> list[tuple[HeldKey, Held]]:
        """Let go of what is due, in the order in which it fell due.

        In a guild that is not watched, only departures: of others, the next snapshot tells what they came to.
        """
        due = sorted(
            (due_ms, held.event["id"], key, held)
            for key, due_ms in self._due_ms.items()
            if due_ms <= elapsed_ms
            and ((held := self._find(key)).event["data"]["channel"] is None or is_watched(key.guild_id))
        )
        for _, _, key, _ in due:
            self._drop(key)
        return [(key, held) for _, _, key, held in due]

    def forget_arrivals(self) -> dict[HeldKey, Held | None]:
        """Note that it is unknown since when people were at their origin, and return what this changed."""
        changed: dict[HeldKey, Held | None] = {}
        for own in self._held.values():
            own.update({key: replace(held, since_ms=None) for key, held in own.items()})
            changed.update(own)
        return changed

    def of_guild(self, guild_id: str) -> dict[HeldKey, Held | None]:
        """Return everything held in the guild."""
        found: dict[HeldKey, Held | None] = {}
        for (guild, _), own in self._held.items():
            if guild == guild_id:
                found.update(own)
        return found

    def forget(self, guild_id: str) -> Iterable[HeldKey]:
        """Drop everything held in a guild that is no longer watched, and return its keys."""
        gone = list(self.of_guild(guild_id))
        for key in gone:
            self._drop(key)
        return gone

    def _update(self, own: dict[HeldKey, Held], event: VoiceEvent) -> dict[HeldKey, Held | None]:
        """Take the newer flags into what is held, and return that."""
        newer = {
            key: replace(held, event=_with_flags_of(held.event, event))
            for key, held in own.items()
            if not held.is_back
        }
        own.update(newer)
        return dict(newer)

    def _find(self, key: HeldKey) -> Held:
        return self._held[key.guild_id, key.user_id][key]

    def _keep(self, key: HeldKey, held: Held, due_ms: int) -> None:
        self._held.setdefault((key.guild_id, key.user_id), {})[key] = held
        if not held.is_back:
            self._due_ms[key] = due_ms

    def _drop(self, key: HeldKey) -> None:
        own = self._held.get((key.guild_id, key.user_id), {})
        own.pop(key, None)
        if not own:
            self._held.pop((key.guild_id, key.user_id), None)
        self._due_ms.pop(key, None)

    @staticmethod
    def _begin(key: HeldKey, event: VoiceEvent, back: Held | None, now_ms: int) -> Held | None:
        """Hold the first step away from an origin, which they came *back* to before, if ever."""
        data = event["data"]
        stay_s = data["duration_s"]
        since_ms = None if stay_s is None else now_ms - round(stay_s * 1000)
        if back is not None and stay_s is not None:
            since_ms = back.since_ms
            stay_s = None if since_ms is None or since_ms > now_ms else (now_ms - since_ms) / 1000
            event = {**event, "data": {**data, "duration_s": stay_s}}
        return Held(data["previous_channel"], since_ms, stay_s, event, (), now_ms + key.debounce_ms)

    def _merge(self, held: Held, key: HeldKey, event: VoiceEvent, now_ms: int) -> Held | None:
        """Return what *held* and *event* come to, ``None`` for nothing."""
        data = event["data"]
        if held.is_back:
            follows = _id(data["previous_channel"]) == _id(held.origin)
            return self._begin(key, event, held if follows else None, now_ms)
        if _id(held.origin) == _id(data["channel"]):
            return None if held.origin is None else replace(held, event=event, routes=())
        merged: VoiceEvent = {
            **event,
            "type": _kind_of(held.origin, data["channel"]),
            "data": self._merge_data(held, data),
        }
        return replace(held, event=merged, due_ms=now_ms + key.debounce_ms)

    def _merge_data(self, held: Held, data: VoiceData) -> VoiceData:
        before = held.event["data"]
        is_move = held.origin is not None and data["channel"] is not None
        counted = data["channel"] or held.origin
        return {
            **data,
            "previous_channel": held.origin,
            "changes": _merge_changes(before["changes"], data["changes"]) if is_move else {},
            "duration_s": held.stay_s,
            "occupants": self._people_in(data["guild"]["id"], counted["id"]) if counted else 0,
            "inferred": before["inferred"] or data["inferred"],
        }


def _routes_of(held: Held, key: HeldKey, ask: AskRules, told: Sequence[Route]) -> tuple[Route, ...]:
    """Return where *held* goes by the rules of its debounce time, or by others where it was to go before."""
    if held.is_back:
        return ()
    targets = {route.target for route in told}
    return tuple(
        route for route in ask(held.event) if route.debounce_ms == key.debounce_ms or route.target in targets
    )


def _id(channel: Channel | None) -> str | None:
    return None if channel is None else channel["id"]


def _kind_of(origin: Channel | None, now: Channel | None) -> VoiceEventType:
    if origin is None:
        return "discord.voice.joined"
    return "discord.voice.left" if now is None else "discord.voice.moved"


def _with_flags_of(event: VoiceEvent, update: VoiceEvent) -> VoiceEvent:
    data = event["data"]
    moved = event["type"] == "discord.voice.moved"
    changes = _merge_changes(data["changes"], update["data"]["changes"]) if moved else data["changes"]
    return {**event, "data": {**data, "state": update["data"]["state"], "changes": changes}}


def _merge_changes(first: VoiceChanges, then: VoiceChanges) -> VoiceChanges:
    """Return both as one: a flag that changed twice is as it was."""
    once = first.keys() ^ then.keys()
    both = {name: value for name, value in {**first, **then}.items() if name in once}
    return cast("VoiceChanges", both)

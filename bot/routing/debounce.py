"""Debounce: holds a coming or going until it has settled, and merges what follows into it.

For each person, lane and destination at most one event is held. What follows before it is due changes it:

    held before            followed by            held after
    nothing                joined, left, moved    that event
    origin → somewhere     ... → elsewhere        origin → elsewhere, as one event
    origin → somewhere     ... → origin           nothing: the person is back where they were
    origin → somewhere     updated                the same, with the newer flags

So leaving and coming back is nothing, joining A and moving to B is joining B, and A → B → A is nothing. Each
change restarts the wait. The places of one person are compared, in order, never the look of events: two joins
with a reported leave between them stay two joins.

Pure: the caller commits what is held together with what caused it, and asks for what is due.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, cast

from bot.routing.lane import Lane
from bot.voice.events import Channel, Event, VoiceChanges, VoiceEvent, VoiceEventType


class HeldKey(NamedTuple):
    lane: Lane
    destination: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Held:
    """``event`` takes the person from ``origin``, where they were first, to where they are now.

    ``stay_s`` is how long they had been at ``origin``.
    """

    origin: Channel | None
    stay_s: float | None
    event: VoiceEvent
    due_ms: int


class Debouncer:
    """Holds events back; *held* is what an earlier process held.

    *people_in* counts the people in a channel now, by the ids of its guild and of itself.
    """

    def __init__(self, held: dict[HeldKey, Held], people_in: Callable[[str, str], int]) -> None:
        self._held = held
        self._people_in = people_in

    def __len__(self) -> int:
        return len(self._held)

    def take(
        self, lane: Lane, destination: str, event: Event, *, debounce_ms: int, now_ms: int
    ) -> tuple[HeldKey, Held | None] | None:
        """Hold *event* or merge it into what is held; return what is held now, to be committed.

        ``None`` if *event* is not held, and goes at once. With a *debounce_ms* of 0 nothing new is held, but
        what is held already, under earlier rules, is still merged with.
        """
        if event["type"] == "discord.voice.gap":
            return None
        key = HeldKey(lane, destination, event["data"]["user"]["id"])
        held = self._held.get(key)
        if held is None:
            if event["type"] == "discord.voice.updated" or not debounce_ms:
                return None
            data = event["data"]
            after: Held | None = Held(
                data["previous_channel"], data["duration_s"], event, now_ms + debounce_ms
            )
        elif event["type"] == "discord.voice.updated":
            after = Held(held.origin, held.stay_s, _with_flags_of(held.event, event), held.due_ms)
        else:
            after = self._merge(held, event, now_ms + debounce_ms)
        if after is None:
            del self._held[key]
        else:
            self._held[key] = after
        return key, after

    def release(self, now_ms: int) -> list[tuple[HeldKey, VoiceEvent]]:
        """Let go of the events that are due, in the order in which they fell due."""
        due = sorted(
            ((key, held) for key, held in self._held.items() if held.due_ms <= now_ms),
            key=lambda item: (item[1].due_ms, item[1].event["id"]),
        )
        for key, _ in due:
            del self._held[key]
        return [(key, held.event) for key, held in due]

    def of_guild(self, guild_id: str) -> dict[HeldKey, Held | None]:
        """Return everything held in the guild."""
        return {key: held for key, held in self._held.items() if key.lane.guild_id == guild_id}

    def forget(self, guild_id: str) -> Iterable[HeldKey]:
        """Drop everything held in a guild that is no longer watched, and return its keys."""
        gone = [key for key in self._held if key.lane.guild_id == guild_id]
        for key in gone:
            del self._held[key]
        return gone

    def _merge(self, held: Held, event: VoiceEvent, due_ms: int) -> Held | None:
        origin, now = held.origin, event["data"]["channel"]
        if (origin and origin["id"]) == (now and now["id"]):
            return None
        kind: VoiceEventType
        if origin is None:
            kind = "discord.voice.joined"
        elif now is None:
            kind = "discord.voice.left"
        else:
            kind = "discord.voice.moved"
        data = event["data"]
        counted = now or origin
        merged: VoiceEvent = {
            **event,
            "type": kind,
            "data": {
                **data,
                "previous_channel": origin,
                "changes": _merge_changes(held.event["data"]["changes"], data["changes"])
                if kind == "discord.voice.moved"
                else {},
                "duration_s": held.stay_s,
                "occupants": self._people_in(data["guild"]["id"], counted["id"]) if counted else 0,
                "inferred": held.event["data"]["inferred"] or data["inferred"],
            },
        }
        return Held(origin, held.stay_s, merged, due_ms)


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

"""Flapping: a coming or going that is held for a while, and undone or merged by what follows.

For each person, lane and destination at most one event is held. What follows before it is due changes it:

    held before            followed by            held after
    nothing                joined, left, moved    that event
    origin → somewhere     ... → elsewhere        origin → elsewhere, as one event
    origin → somewhere     ... → origin           nothing: they are where they were
    origin → somewhere     updated                the same, with the newer flags

so that leaving and coming back is nothing, joining A and moving to B is joining B, and A → B → A is nothing.
Each change begins the wait anew. It is places that are compared, of one person, in order, and never events
by what they look like: two joins with a leave between them that was reported are two joins.

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
    """``event`` says how things stand now, compared with ``origin``, where the person was to begin with.

    ``stay_s`` is how long they had been there.
    """

    origin: Channel | None
    stay_s: float | None
    event: VoiceEvent
    due_ms: int


class Settler:
    """Holds events; *held* is what an earlier process held.

    *people_in* counts who is in a channel of a guild now, by the ids of both.
    """

    def __init__(self, held: dict[HeldKey, Held], people_in: Callable[[str, str], int]) -> None:
        self._held = held
        self._people_in = people_in

    def __len__(self) -> int:
        return len(self._held)

    def take(
        self, lane: Lane, destination: str, event: Event, *, settle_ms: int, now_ms: int
    ) -> tuple[HeldKey, Held | None] | None:
        """Hold *event*, or let it change what is held; return what is held now, to be committed.

        ``None`` if *event* is not for holding, and goes at once. With a *settle_ms* of 0 nothing new is held,
        but what is held already, under rules that were different then, is changed all the same.
        """
        if event["type"] == "discord.voice.gap":
            return None
        key = HeldKey(lane, destination, event["data"]["user"]["id"])
        held = self._held.get(key)
        if held is None:
            if event["type"] == "discord.voice.updated" or not settle_ms:
                return None
            data = event["data"]
            after: Held | None = Held(data["previous_channel"], data["duration_s"], event, now_ms + settle_ms)
        elif event["type"] == "discord.voice.updated":
            after = Held(held.origin, held.stay_s, _with_flags_of(held.event, event), held.due_ms)
        else:
            after = self._merge(held, event, now_ms + settle_ms)
        if after is None:
            del self._held[key]
        else:
            self._held[key] = after
        return key, after

    def release(self, now_ms: int) -> list[tuple[HeldKey, VoiceEvent]]:
        """Let go of what is due, in the order in which it fell due."""
        due = sorted(
            ((key, held) for key, held in self._held.items() if held.due_ms <= now_ms),
            key=lambda item: (item[1].due_ms, item[1].event["id"]),
        )
        for key, _ in due:
            del self._held[key]
        return [(key, held.event) for key, held in due]

    def of_guild(self, guild_id: str) -> dict[HeldKey, Held | None]:
        """Return all that is held of the guild."""
        return {key: held for key, held in self._held.items() if key.lane.guild_id == guild_id}

    def forget(self, guild_id: str) -> Iterable[HeldKey]:
        """Let go of whatever is held of a guild that is watched no more; return what that was."""
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
    """Return what both come to: a flag that was changed twice is as it was."""
    once = first.keys() ^ then.keys()
    both = {name: value for name, value in {**first, **then}.items() if name in once}
    return cast("VoiceChanges", both)

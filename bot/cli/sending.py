"""One made-up event through the real API, to see that the way is open, and how long each part of it takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from bot.api.client import ApiClient
from bot.clock import Clock, format_ms, system_clock
from bot.ulid import UlidFactory
from bot.voice.events import VoiceEvent


@dataclass(frozen=True, slots=True)
class MadeUp:
    """What the event says: that the user joined the channel."""

    guild_id: str
    channel_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Sent:
    """An accepted event: ``arn`` is the execution, and ``request_s`` how long the API took to start it.

    ``sent_ms`` and ``accepted_ms`` are the same by this machine's clock.
    """

    arn: str
    sent_ms: int
    accepted_ms: int
    request_s: float


async def send_test(
    api: ApiClient,
    event: MadeUp,
    *,
    workflow: str,
    destination: str,
    clock: Clock = system_clock,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Sent:
    """Start an execution of *workflow* with the event; raises the DeliveryError that the answer amounts to.

    Sent once, past the outbox.
    """
    sent_ms = clock()
    new_id = UlidFactory()
    built = _build_event(new_id(sent_ms), sent_ms, event)
    execution = f"test-{new_id(sent_ms)}"
    body = orjson.dumps({"id": execution, "destination": destination, "events": [built]})
    sent_s = monotonic_s()
    arn = await api.start(workflow, execution, body)
    return Sent(arn, sent_ms, clock(), monotonic_s() - sent_s)


def _build_event(event_id: str, now_ms: int, event: MadeUp) -> VoiceEvent:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/discord/guilds/{event.guild_id}",
        "type": "discord.voice.joined",
        "subject": f"users/{event.user_id}",
        "time": format_ms(now_ms),
        "data": {
            "guild": {"id": event.guild_id, "name": None},
            "user": {"id": event.user_id, "name": None, "display_name": None, "bot": None},
            "channel": {"id": event.channel_id, "name": None, "kind": "voice"},
            "previous_channel": None,
            "changes": {},
            "occupants": 1,
            "duration_s": None,
            "inferred": False,
            "state": {
                "self_mute": False,
                "self_deaf": False,
                "mute": False,
                "deaf": False,
                "self_stream": False,
                "self_video": False,
                "suppress": False,
            },
        },
    }

"""One made-up event through the real API, to see that the way is open."""

import orjson

from bot.batch import Batch, Lane
from bot.events import VoiceEvent
from bot.ids import UlidFactory
from bot.ingress import Ingress
from bot.target import Target
from bot.timestamps import Clock, format_ms, system_clock


async def send_test(
    target: Target, *, guild_id: str, channel_id: str, user_id: str, clock: Clock = system_clock
) -> str:
    """Start an execution of ``notify`` with one event that says that the user joined; return its ARN.

    Sent once, past the outbox: raises the DeliveryError that the answer amounts to.
    """
    now_ms = clock()
    new_id = UlidFactory()
    event = _build_event(new_id(now_ms), now_ms, guild_id, channel_id, user_id)
    execution = f"test-{new_id(now_ms)}"
    batch = Batch(
        lane_id=0,
        lane=Lane("notify", guild_id),
        execution=execution,
        body=orjson.dumps({"id": execution, "destination": "default", "events": [event]}),
        event_ids=(event["id"],),
        created_ms=now_ms,
    )
    async with Ingress(
        target.endpoint, region=target.region, credentials=target.credentials, max_connections=1
    ) as ingress:
        return await ingress.start_execution(batch)


def _build_event(event_id: str, now_ms: int, guild_id: str, channel_id: str, user_id: str) -> VoiceEvent:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/discord/guilds/{guild_id}",
        "type": "discord.voice.joined",
        "subject": f"users/{user_id}",
        "time": format_ms(now_ms),
        "data": {
            "guild": {"id": guild_id, "name": None},
            "user": {"id": user_id, "name": None, "display_name": None, "bot": None},
            "channel": {"id": channel_id, "name": None, "kind": "voice"},
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

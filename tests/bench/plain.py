"""The plain approach, for contrast: ``python -m tests.bench.plain``, as such bots are usually written.

discord.py's ``on_voice_state_update``, the two voice states compared, botocore's signer, one POST for each
event over a shared session, nothing kept. It tells the same facts in the same form as the relay does, so
that both do the same work for an event and one account fits both.
"""

import asyncio
import json
import os
import uuid
from datetime import UTC, datetime
from typing import Any

import aiohttp
import discord
import yarl
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session
from discord.gateway import DiscordWebSocket
from discord.http import Route

_FLAGS = ("self_mute", "self_deaf", "mute", "deaf", "self_stream", "self_video", "suppress")


class PlainBot(discord.Client):
    """Posts every change of a voice state that discord.py reports to *url*."""

    def __init__(self, url: str, region: str) -> None:
        super().__init__(intents=discord.Intents(guilds=True, voice_states=True))
        self._url = url
        credentials = Session().get_credentials()
        assert credentials is not None
        self._signer = SigV4Auth(credentials, "execute-api", region)
        self._session: aiohttp.ClientSession | None = None

    async def setup_hook(self) -> None:
        self._session = aiohttp.ClientSession()
        # A plain client does not ask the API where the gateway is.
        _, url, _ = await self.http.get_bot_gateway()
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)

    async def on_voice_state_update(
        self, member: discord.Member, before: discord.VoiceState, after: discord.VoiceState
    ) -> None:
        changes = {
            flag: getattr(after, flag) for flag in _FLAGS if getattr(after, flag) != getattr(before, flag)
        }
        if before.channel != after.channel:
            if before.channel is None:
                kind = "joined"
            elif after.channel is None:
                kind = "left"
            else:
                kind = "moved"
            await self._post(_build_event(kind, member, before.channel, after.channel, changes))
        elif changes:
            await self._post(_build_event("updated", member, None, after.channel, changes))

    async def _post(self, event: dict[str, Any]) -> None:
        assert self._session is not None
        name = str(uuid.uuid4())
        body = json.dumps({"id": name, "destination": "default", "events": [event]})
        headers = {"Content-Type": "application/json", "Execution-Name": name}
        request = AWSRequest(method="POST", url=self._url, data=body, headers=headers)
        self._signer.add_auth(request)
        async with self._session.post(self._url, data=body, headers=dict(request.headers)) as response:
            response.raise_for_status()
            await response.read()


def _build_event(
    kind: str, member: discord.Member, before: Any, after: Any, changes: dict[str, bool]
) -> dict[str, Any]:
    shown = after or before
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": f"/discord/guilds/{member.guild.id}",
        "type": f"discord.voice.{kind}",
        "subject": f"users/{member.id}",
        "time": datetime.now(UTC).isoformat(),
        "data": {
            "guild": {"id": str(member.guild.id), "name": member.guild.name},
            "user": {
                "id": str(member.id),
                "name": member.name,
                "display_name": member.display_name,
                "bot": member.bot,
            },
            "channel": _channel(after),
            "previous_channel": _channel(before),
            "changes": changes,
            "occupants": len(shown.members) if shown else 0,
        },
    }


def _channel(channel: Any) -> dict[str, str] | None:
    return None if channel is None else {"id": str(channel.id), "name": channel.name, "kind": "voice"}


async def main() -> None:
    Route.BASE = os.environ["VOICE_RELAY_DISCORD_API_URL"]
    url = os.environ["VOICE_RELAY_API_ENDPOINT"] + "/workflows/notify"
    async with PlainBot(url, os.environ["AWS_DEFAULT_REGION"]) as bot:
        await bot.start(os.environ["VOICE_RELAY_DISCORD_TOKEN"])


if __name__ == "__main__":
    asyncio.run(main())

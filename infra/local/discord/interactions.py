"""Presses of buttons: what is dispatched for one, how a bot may answer it, and what the presser sees.

press ──▶ INTERACTION_CREATE ──▶ callback within 3 s ──▶ edits and further messages within 15 min
                                 else "This interaction failed"
"""

# https://docs.discord.com/developers/interactions/receiving-and-responding

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from infra.local.discord.chat import Chat, Message, build_message
from infra.local.discord.guild import Guild
from infra.local.discord.model import Channel, ChannelType, Member, User
from infra.local.discord.notifier import Notifier
from infra.local.discord.payloads import Json, build_channel, build_member, build_user
from infra.local.discord.session import Sessions
from infra.local.discord.snowflakes import Snowflakes
from infra.local.discord.world import World

CALLBACK_S = 3.0
TOKEN_S = 900.0
_MESSAGE_COMPONENT = 3
_BUTTON = 2
_LINK = 5
FAILED = "This interaction failed"
THINKING = "thinking…"


@dataclass
class Press:
    """One press of a button, and what came of it.

    ``answers`` are the messages that answer it, the first of them the original; ``callback`` is the type that
    it was acknowledged with.
    """

    id: str
    token: str
    user: User
    message: Message
    custom_id: str
    at: float
    payload: Json
    clock: Callable[[], float] = field(repr=False)
    callback: int | None = None
    thinking: bool = False
    answers: list[Message] = field(default_factory=list)

    @property
    def shown(self) -> str | None:
        """What the presser sees below the button: ``None`` while the client waits."""
        if self.callback is None:
            return FAILED if self.clock() - self.at > CALLBACK_S else None
        if self.thinking:
            return THINKING
        return "\n".join(answer.content for answer in self.answers if not answer.deleted)

    @property
    def answered(self) -> bool:
        """Whether the presser sees an answer that is not only a promise of one."""
        return self.callback is not None and not self.thinking and bool(self.answers)


class Interactions:
    """All presses, oldest first."""

    def __init__(
        self,
        *,
        world: World,
        chat: Chat,
        sessions: Sessions,
        application_id: str,
        snowflakes: Snowflakes,
        notifier: Notifier,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.presses: list[Press] = []
        self._world = world
        self._chat = chat
        self._sessions = sessions
        self._application_id = application_id
        self._snowflakes = snowflakes
        self._notifier = notifier
        self._clock = clock

    def press(self, who: Member | User, message: Message, label: str) -> Press:
        """Let *who* press the button with *label*, as a client could: not one that is disabled or gone.

        A member presses in the guild, a user in the bot's private channel with them.
        """
        button = message.find_button(label)
        if message.deleted or button.get("disabled") or button["style"] == _LINK:
            raise ValueError(f"no client can press {label!r}")
        return self.send(who, message, button["custom_id"])

    def send(self, who: Member | User, message: Message, custom_id: str) -> Press:
        """Dispatch a press of *custom_id*, whatever the message has."""
        interaction_id = self._snowflakes.make("interaction")
        # Discord's begin in the same way, which is how they are recognized in a log.
        secret = f"interaction:{interaction_id}:".ljust(80, "s")
        press = Press(
            id=interaction_id,
            token=base64.b64encode(secret.encode()).decode(),
            user=who.user if isinstance(who, Member) else who,
            message=message,
            custom_id=custom_id,
            at=self._clock(),
            payload={},
            clock=self._clock,
        )
        guild_id = self._find_guild(message).id if isinstance(who, Member) else None
        press.payload = self._build_payload(press, who)
        self.presses.append(press)
        # What happens in private channels is dispatched to shard 0.
        self._sessions.publish(guild_id or "0", "INTERACTION_CREATE", orjson.dumps(press.payload))
        return press

    async def wait_answered(self, press: Press, timeout_s: float) -> str:
        """Wait until the presser sees an answer; return it."""
        await self._notifier.wait_for(lambda: press.answered, timeout_s, f"an answer to the press {press.id}")
        return press.shown or ""

    def _find_guild(self, message: Message) -> Guild:
        channel = self._world.find_channel(message.channel_id)
        guild_id = None if channel is None else self._world.guild_of(channel)
        if guild_id is None:
            raise ValueError("the message is in no guild's channel")
        return self._world.guilds[guild_id]

    def _build_payload(self, press: Press, who: Member | User) -> Json:
        payload: dict[str, Any] = {
            "version": 1,
            "type": _MESSAGE_COMPONENT,
            "id": press.id,
            "token": press.token,
            "application_id": self._application_id,
            "message": build_message(press.message),
            "data": {"component_type": _BUTTON, "custom_id": press.custom_id, "id": 2},
            "channel_id": press.message.channel_id,
            "locale": "en-US",
            "entitlements": [],
            "entitlement_sku_ids": [],
            "authorizing_integration_owners": {},
            "attachment_size_limit": 10 << 20,
        }
        if isinstance(who, User):
            channel = {"id": press.message.channel_id, "type": 1}
            return payload | {
                "user": build_user(who),
                "channel": channel,
                "context": 1,
                "app_permissions": "0",
            }
        guild, place = self._find_guild(press.message), self._find_place(press.message)
        bot = guild.members[self._world.bot.id]
        permissions = str(int(guild.permissions_of(who, place)))
        return payload | {
            "context": 0,
            "guild_id": guild.id,
            "guild": {"id": guild.id, "locale": "en-US", "features": []},
            "guild_locale": "en-US",
            "channel": build_channel(place, guild.id),
            "member": build_member(who) | {"permissions": permissions},
            "app_permissions": str(int(guild.permissions_of(bot, place))),
        }

    def _find_place(self, message: Message) -> Channel:
        found = self._world.find_channel(message.channel_id)
        return found or Channel(message.channel_id, "gone", ChannelType.TEXT)

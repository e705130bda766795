"""Messages of bots and people in the channels, private ones included, with every edit."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from infra.local.discord.model import Channel, User
from infra.local.discord.notifier import Notifier
from infra.local.discord.payloads import build_user
from infra.local.discord.rendering import parse_pings
from infra.local.discord.snowflakes import Snowflakes

Json = dict[str, Any]

# https://docs.discord.com/developers/resources/message#create-message: "in the past few minutes"
_NONCE_S = 180.0
_EDITABLE = ("content", "embeds", "components", "flags", "allowed_mentions")


@dataclass
class Message:
    """One message; ``body`` is what it says now, ``versions`` what it said from the first body on.

    ``at`` and ``edited_at`` are in seconds since the Unix epoch. An *ephemeral* message is shown to the one
    who pressed, and stands in no channel.
    """

    id: str
    channel_id: str
    author: User
    body: Json
    at: float
    nonce: int | str | None = None
    ephemeral: bool = False
    may_ping_roles: bool = True
    edited_at: float | None = None
    deleted: bool = False
    versions: list[Json] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.versions.append(self.body)

    @property
    def content(self) -> str:
        return str(self.body.get("content") or "")

    @property
    def buttons(self) -> list[Json]:
        """The buttons as they are now, in reading order."""
        return [button for row in self.body.get("components") or () for button in row["components"]]

    def find_button(self, label: str) -> Json:
        """Return the button with this label; raises LookupError."""
        for button in self.buttons:
            if button.get("label") == label:
                return button
        raise LookupError(f"no button {label!r} among {[button.get('label') for button in self.buttons]}")

    @property
    def pings(self) -> list[str]:
        """Who was notified when it was sent, as ``parse_pings`` says; edits notify nobody.

        Roles and everyone need the permission Mention All Roles, as no role here is mentionable.
        """
        pings = parse_pings(self.versions[0], default=("users", "roles", "everyone"))
        return [ping for ping in pings if self.may_ping_roles or ping[0] not in "&@"]


class Chat:
    """All messages. ``old_edits`` is how many edits of messages older than an hour Discord still takes."""

    def __init__(
        self, *, snowflakes: Snowflakes, notifier: Notifier, clock: Callable[[], float] = time.time
    ) -> None:
        self.by_id: dict[str, Message] = {}
        self.private_channels: dict[str, str] = {}
        self.old_edits = 1_000_000
        self._snowflakes = snowflakes
        self._notifier = notifier
        self._clock = clock

    def messages(self, channel: Channel | str, *, deleted: bool = False) -> list[Message]:
        """Return the messages that stand in *channel*; with *deleted*, those that do not any more, too."""
        channel_id = channel if isinstance(channel, str) else channel.id
        return [
            message
            for message in self.by_id.values()
            if message.channel_id == channel_id and not message.ephemeral and (deleted or not message.deleted)
        ]

    def private_messages(self, user: User) -> list[Message]:
        """Return what stands in the bot's private channel with *user*."""
        return [m for id, of in self.private_channels.items() if of == user.id for m in self.messages(id)]  # noqa: A001

    def open_private(self, user: User) -> str:
        """Return the id of the bot's channel with *user*, the same each time."""
        for channel_id, user_id in self.private_channels.items():
            if user_id == user.id:
                return channel_id
        channel_id = self._snowflakes.make("channel")
        self.private_channels[channel_id] = user.id
        return channel_id

    def say(self, author: User, channel: Channel | str, body: Json, *, ephemeral: bool = False) -> Message:
        """Keep a new message."""
        message = Message(
            id=self._snowflakes.make("message"),
            channel_id=channel if isinstance(channel, str) else channel.id,
            author=author,
            body={key: value for key, value in body.items() if value is not None},
            at=self._clock(),
            nonce=body.get("nonce"),
            ephemeral=ephemeral,
        )
        self.by_id[message.id] = message
        self._notifier.notify()
        return message

    def find_repeated(self, author: User, nonce: int | str) -> Message | None:
        """Return the author's message with this nonce of the last minutes."""
        since = self._clock() - _NONCE_S
        for message in self.by_id.values():
            if message.author is author and message.nonce == nonce and message.at >= since:
                return message
        return None

    def edit(self, message: Message, changes: Json) -> None:
        """Replace what *changes* names; null takes it away."""
        kept = {key: value for key, value in message.body.items() if key not in changes}
        named = {key: changes[key] for key in _EDITABLE if changes.get(key) is not None}
        message.body = kept | named
        message.versions.append(message.body)
        message.edited_at = self._clock()
        self._notifier.notify()

    def delete(self, message: Message) -> None:
        message.deleted = True
        self._notifier.notify()


def build_message(message: Message, *, webhook_id: str | None = None) -> Json:
    """Build the message as the REST API and interactions have it."""
    # https://docs.discord.com/developers/resources/message#message-object
    body = message.body
    pinged = message.pings
    components = [
        {
            "id": i,
            **row,
            "components": [{"id": 10 * i + j, **button} for j, button in enumerate(row["components"], 1)],
        }
        for i, row in enumerate(body.get("components") or (), 1)
    ]
    flags = body.get("flags") or 0
    built = {
        "id": message.id,
        "type": 0,
        "content": message.content,
        "channel_id": message.channel_id,
        "author": build_user(message.author),
        "embeds": [{"type": "rich", **embed} for embed in body.get("embeds") or ()],
        "attachments": [],
        "components": components,
        "mentions": [],
        "mention_roles": [ping[1:] for ping in pinged if ping[:1] == "&"],
        "mention_everyone": any(ping[:1] == "@" for ping in pinged),
        "pinned": False,
        "tts": False,
        "timestamp": _format(message.at),
        "edited_timestamp": None if message.edited_at is None else _format(message.edited_at),
        "flags": flags,
    }
    if message.nonce is not None:
        built["nonce"] = message.nonce
    return built if webhook_id is None else built | {"webhook_id": webhook_id, "application_id": webhook_id}


def _format(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()

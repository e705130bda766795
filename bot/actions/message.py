"""A message as a workflow gives it, within Discord's limits, and as Discord takes it.

Nothing is mentioned unless ``mention_users`` or ``mention_roles`` names it, whatever the text says.
"""

# https://docs.discord.com/developers/resources/message#create-message

import hashlib
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from bot.button import SIGNAL, build_button

Snowflake = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]

_EMBEDS_MAX_CHARS: Final = 6000
_ROW_BUTTONS: Final = 5
_STYLES: Final = {"primary": 1, "secondary": 2, "success": 3, "danger": 4}
_NONCE_CHARS: Final = 24

_Url = Annotated[str, StringConstraints(pattern=r"^https?://\S+$", max_length=2048)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Author(_Part):
    name: str = Field(min_length=1, max_length=256)
    url: _Url | None = None
    icon_url: _Url | None = None


class _Footer(_Part):
    text: str = Field(min_length=1, max_length=2048)
    icon_url: _Url | None = None


class _Image(_Part):
    url: _Url


class _EmbedField(_Part):
    name: str = Field(min_length=1, max_length=256)
    value: str = Field(min_length=1, max_length=1024)
    inline: bool = False


class Embed(_Part):
    """An embed; what Discord alone sets is not in it."""

    title: str | None = Field(None, max_length=256)
    description: str | None = Field(None, max_length=4096)
    url: _Url | None = None
    color: int | None = Field(None, ge=0, le=0xFFFFFF)
    timestamp: str | None = Field(None, max_length=40)
    author: _Author | None = None
    footer: _Footer | None = None
    image: _Image | None = None
    thumbnail: _Image | None = None
    fields: tuple[_EmbedField, ...] = Field((), max_length=25)

    @property
    def chars(self) -> int:
        """How much of the limit for all embeds together it takes."""
        texts = [self.title, self.description]
        texts += [self.author.name if self.author else None, self.footer.text if self.footer else None]
        texts += [text for field in self.fields for text in (field.name, field.value)]
        return sum(len(text) for text in texts if text)


class MessageButton(_Part):
    """A button that sends ``signal`` to the execution of the action's key."""

    label: str = Field(min_length=1, max_length=80)
    style: Literal["success", "danger", "primary", "secondary"] = "secondary"
    signal: Annotated[str, StringConstraints(pattern=rf"^{SIGNAL}$")]
    disabled: bool = False


class Message(_Part):
    """What is sent; an edit changes only the parts that are given."""

    content: str | None = Field(None, max_length=2000)
    embeds: tuple[Embed, ...] = Field((), max_length=10)
    buttons: tuple[MessageButton, ...] = Field((), max_length=25)
    mention_users: tuple[Snowflake, ...] = Field((), max_length=100)
    mention_roles: tuple[Snowflake, ...] = Field((), max_length=100)

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if sum(embed.chars for embed in self.embeds) > _EMBEDS_MAX_CHARS:
            raise ValueError(f"the embeds together have more than {_EMBEDS_MAX_CHARS} characters")
        signals = [button.signal for button in self.buttons]
        if len(set(signals)) < len(signals):
            raise ValueError("two buttons have the same signal")
        return self

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read in it, which Discord refuses."""
        return not (self.content or self.embeds)


def build_new(message: Message, execution: str, key: str) -> dict[str, Any]:
    """Return the body that sends *message* once: Discord returns the first where *key* comes again.

    It does so for a few minutes. Raises ValueError for a button that cannot be built.
    """
    body = _build(message, execution, Message.model_fields.keys())
    return body | {"nonce": _nonce(key), "enforce_nonce": True}


def build_edit(message: Message, execution: str) -> dict[str, Any]:
    """Return the body that changes what *message* gives; raises ValueError as ``build_new`` does."""
    return _build(message, execution, message.model_fields_set)


def _build(message: Message, execution: str, given: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "allowed_mentions": {
            "parse": [],
            "users": _each_once(message.mention_users),
            "roles": _each_once(message.mention_roles),
        }
    }
    if "content" in given:
        body["content"] = message.content or ""
    if "embeds" in given:
        body["embeds"] = [embed.model_dump(exclude_none=True) for embed in message.embeds]
    if "buttons" in given:
        body["components"] = _build_rows(message.buttons, execution)
    return body


def _each_once(ids: tuple[str, ...]) -> list[str]:
    """Return *ids* without repeats, for which Discord refuses a message."""
    # https://github.com/discord/discord-api-docs/pull/5484
    return list(dict.fromkeys(ids))


def _build_rows(buttons: tuple[MessageButton, ...], execution: str) -> list[dict[str, Any]]:
    built = [
        {
            "type": 2,
            "label": button.label,
            "style": _STYLES[button.style],
            "custom_id": build_button(button.signal, execution),
            "disabled": button.disabled,
        }
        for button in buttons
    ]
    return [
        {"type": 1, "components": built[start : start + _ROW_BUTTONS]}
        for start in range(0, len(built), _ROW_BUTTONS)
    ]


def _nonce(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:_NONCE_CHARS]

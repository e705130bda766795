"""Validates what a bot sends: messages with buttons, their edits, and answers to interactions.

Texts, embeds and mentions have the limits of a webhook's message.
"""

# https://docs.discord.com/developers/resources/message
# https://docs.discord.com/developers/components/reference

from typing import Annotated, Any, Self

import pydantic
from pydantic_core import PydanticCustomError

from infra.local.discord.refusal import Refused, refuse_form
from infra.local.discord.webhook_validation import (
    EMPTY_MESSAGE,
    IS_COMPONENTS_V2,
    Message,
    Model,
    at_most,
    between,
    build_form_error,
    check_flags,
)

Json = dict[str, Any]

EPHEMERAL = 1 << 6
_ACTION_ROW, _BUTTON = 1, 2
_LINK, _PREMIUM = 5, 6
_STYLES = range(1, 7)
_NONCE_LENGTH = 25


def _is(kind: int) -> pydantic.AfterValidator:
    def check(value: int) -> int:
        if value != kind:
            raise PydanticCustomError(
                "UNION_TYPE_CHOICES", f'Value of field "type" must be one of ({kind},).'
            )
        return value

    return pydantic.AfterValidator(check)


class _Button(Model):
    type: Annotated[int, _is(_BUTTON)]
    style: Annotated[int, pydantic.Field(ge=_STYLES[0], le=_STYLES[-1])]
    label: Annotated[str, between(0, 80)] | None = None
    emoji: dict[str, Any] | None = None
    custom_id: Annotated[str, between(1, 100)] | None = None
    url: Annotated[str, between(1, 512)] | None = None
    sku_id: str | None = None
    disabled: bool | None = None

    @pydantic.model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.style == _PREMIUM:
            return self
        if not self.label and not self.emoji:
            raise PydanticCustomError("BUTTON_COMPONENT_INVALID", "A button must have a label or an emoji")
        wanted, other = (self.url, self.custom_id) if self.style == _LINK else (self.custom_id, self.url)
        if wanted is None:
            raise PydanticCustomError("BASE_TYPE_REQUIRED", "A custom id or url is required")
        if other is not None:
            raise PydanticCustomError(
                "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE",
                "A custom id and url cannot both be specified",
            )
        return self


def _check_filled(items: list[_Button]) -> list[_Button]:
    if not 1 <= len(items) <= 5:
        raise PydanticCustomError("BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
    return items


class _ActionRow(Model):
    type: Annotated[int, _is(_ACTION_ROW)]
    components: Annotated[list[_Button], pydantic.AfterValidator(_check_filled)]


class _BotMessage(Message):
    """Fields of webhooks only are unknown here, and so ignored."""

    components: Annotated[list[_ActionRow], at_most(5)] | None = None  # type: ignore[assignment]
    nonce: int | str | None = None
    enforce_nonce: bool | None = None
    username: Any = None
    avatar_url: Any = None
    thread_name: Any = None
    applied_tags: Any = None

    @pydantic.field_validator("nonce")
    @classmethod
    def _check_nonce(cls, nonce: int | str | None) -> int | str | None:
        if len(str(nonce)) > _NONCE_LENGTH:
            raise PydanticCustomError(
                "NONCE_TYPE_BAD_LENGTH", f"Must be between 1 and {_NONCE_LENGTH} in length."
            )
        return nonce


def _check_answer_flags(flags: int) -> int:
    check_flags(flags & ~EPHEMERAL)
    return flags


class _InteractionMessage(_BotMessage):
    flags: Annotated[int, pydantic.AfterValidator(_check_answer_flags)] | None = None


def check_bot_message(body: object, *, of_interaction: bool = False, partial: bool = False) -> Json:
    """Return *body*; raises Refused. A *partial* one is an edit, which may leave out everything."""
    model = _InteractionMessage if of_interaction else _BotMessage
    try:
        message = model.model_validate(body)
    except pydantic.ValidationError as invalid:
        raise Refused(400, build_form_error(invalid.errors(include_url=False))) from None
    assert isinstance(body, dict)  # noqa: S101  # the model has taken it
    _check_custom_ids(message.components or [])
    if not partial:
        check_visible(body)
    return body


def check_visible(body: Json) -> None:
    """Raise Refused if there would be nothing to see."""
    content, embeds = body.get("content") or "", body.get("embeds") or []
    v2 = (body.get("flags") or 0) & IS_COMPONENTS_V2
    seen = {"content": content, "embeds": embeds, "components": body.get("components") if v2 else None}
    if not Message.model_validate(seen).is_visible(with_components=True):
        raise Refused(400, EMPTY_MESSAGE)


def _check_custom_ids(rows: list[_ActionRow]) -> None:
    """Refuse two components with one id; disabled ones count, too."""
    # https://github.com/discord/discord-api-docs/issues/3673
    seen: set[str] = set()
    for i, row in enumerate(rows):
        for j, button in enumerate(row.components):
            if button.custom_id in seen:
                raise refuse_form(
                    f"components.{i}.components.{j}.custom_id",
                    "COMPONENT_CUSTOM_ID_DUPLICATED",
                    "Component custom id cannot be duplicated",
                )
            if button.custom_id is not None:
                seen.add(button.custom_id)

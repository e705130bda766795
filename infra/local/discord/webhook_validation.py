"""Validates the body of a webhook message as Discord does, with Discord's error responses.

The models' annotations are the documented limits; a table maps pydantic's errors to Discord's codes. The
response's shape is documented, but most of its codes are not: they are as clients have reported them.
"""

# https://docs.discord.com/developers/resources/webhook#execute-webhook
# https://docs.discord.com/developers/resources/message#embed-object-embed-limits
# https://docs.discord.com/developers/reference#error-messages

import itertools
import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic_core import ErrorDetails, PydanticCustomError

Json = dict[str, Any]

_ALL_EMBEDS_LENGTH = 6000
_NAMES_REFUSED = ("clyde", "discord")
_SUPPRESS_EMBEDS, _SUPPRESS_NOTIFICATIONS, IS_COMPONENTS_V2 = 1 << 2, 1 << 12, 1 << 15
_SETTABLE_FLAGS = _SUPPRESS_EMBEDS | _SUPPRESS_NOTIFICATIONS | IS_COMPONENTS_V2


def length_of(text: str) -> int:
    """Return the length as Discord counts it, in Unicode code points.

    Discord documents "characters" without defining them; this is the one place to change.
    """
    return len(text)


def between(least: int, most: int) -> pydantic.AfterValidator:
    def check(text: str) -> str:
        if least and not text.strip():
            raise PydanticCustomError("BASE_TYPE_REQUIRED", "This field is required")
        if not least <= length_of(text) <= most:
            if least:
                raise PydanticCustomError(
                    "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length."
                )
            raise PydanticCustomError("BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
        return text

    return pydantic.AfterValidator(check)


def at_most(most: int) -> pydantic.AfterValidator:
    def check(items: list[Any]) -> list[Any]:
        if len(items) > most:
            raise PydanticCustomError("BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
        return items

    return pydantic.AfterValidator(check)


def _check_url(url: str) -> str:
    if not re.fullmatch(r"(https?|attachment)://\S+", url):
        raise PydanticCustomError("URL_TYPE_INVALID_URL", "Not a well formed URL.")
    return url


def _check_username(name: str) -> str:
    for refused in _NAMES_REFUSED:
        if refused in name.lower():
            raise PydanticCustomError("USERNAME_INVALID_CONTAINS", f'Username cannot contain "{refused}"')
    return name


def check_flags(flags: int) -> int:
    if flags & ~_SETTABLE_FLAGS:
        raise PydanticCustomError("MESSAGE_FLAGS_INVALID", "Only some flags can be set on a webhook message.")
    return flags


def _check_timestamp(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError(
            "DATE_TIME_TYPE_PARSE", f'Could not parse "{text}". Should be ISO8601.'
        ) from None
    return text


_Url = Annotated[str, between(1, 2048), pydantic.AfterValidator(_check_url)]
_Timestamp = Annotated[str, pydantic.AfterValidator(_check_timestamp)]
Snowflake = Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9]{1,20}$")]
_Objects = list[dict[str, Any]]


class Model(pydantic.BaseModel):
    # Discord ignores unknown keys; a known key with another type is an error.
    model_config = pydantic.ConfigDict(strict=True, extra="ignore")


class _Field(Model):
    name: Annotated[str, between(1, 256)]
    value: Annotated[str, between(1, 1024)]
    inline: bool | None = None


class _Footer(Model):
    text: Annotated[str, between(1, 2048)]
    icon_url: _Url | None = None


class _Author(Model):
    name: Annotated[str, between(1, 256)]
    url: _Url | None = None
    icon_url: _Url | None = None


class _Image(Model):
    url: _Url


class _Embed(Model):
    title: Annotated[str, between(0, 256)] | None = None
    description: Annotated[str, between(0, 4096)] | None = None
    url: _Url | None = None
    timestamp: _Timestamp | None = None
    color: Annotated[int, pydantic.Field(ge=0, le=0xFFFFFF)] | None = None
    footer: _Footer | None = None
    image: _Image | None = None
    thumbnail: _Image | None = None
    author: _Author | None = None
    fields: Annotated[list[_Field], at_most(25)] | None = None

    @property
    def length(self) -> int:
        """The length that counts towards the limit over all embeds of a message."""
        texts = [self.title, self.description]
        texts += [self.footer.text if self.footer else None, self.author.name if self.author else None]
        texts += itertools.chain.from_iterable((field.name, field.value) for field in self.fields or ())
        return sum(length_of(text) for text in texts if text)

    @property
    def is_empty(self) -> bool:
        return not (self.length or self.image or self.thumbnail)


def _check_all_embeds(embeds: list[_Embed]) -> list[_Embed]:
    if sum(embed.length for embed in embeds) > _ALL_EMBEDS_LENGTH:
        raise PydanticCustomError(
            "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {_ALL_EMBEDS_LENGTH}"
        )
    return embeds


class _AllowedMentions(Model):
    parse: list[Literal["users", "roles", "everyone"]] | None = None
    users: Annotated[list[Snowflake], at_most(100)] | None = None
    roles: Annotated[list[Snowflake], at_most(100)] | None = None
    replied_user: bool | None = None

    @pydantic.model_validator(mode="after")
    def _check_exclusive(self) -> Self:
        for kind, ids in (("users", self.users), ("roles", self.roles)):
            if ids and self.parse and kind in self.parse:
                raise PydanticCustomError(
                    "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                    f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.',
                )
        return self


class Message(Model):
    content: Annotated[str, between(0, 2000)] | None = None
    username: Annotated[str, between(1, 80), pydantic.AfterValidator(_check_username)] | None = None
    avatar_url: Annotated[str, between(0, 2048)] | None = None
    tts: bool | None = None
    embeds: Annotated[list[_Embed], at_most(10), pydantic.AfterValidator(_check_all_embeds)] | None = None
    allowed_mentions: _AllowedMentions | None = None
    components: Annotated[_Objects, at_most(40)] | None = None
    attachments: Annotated[_Objects, at_most(10)] | None = None
    flags: Annotated[int, pydantic.AfterValidator(check_flags)] | None = None
    thread_name: Annotated[str, between(1, 100)] | None = None
    applied_tags: Annotated[list[Snowflake], at_most(5)] | None = None
    poll: dict[str, Any] | None = None

    def is_visible(self, *, with_components: bool) -> bool:
        """Whether there is anything to show."""
        visible_embeds = any(not embed.is_empty for embed in self.embeds or ())
        visible_components = with_components and self.components
        return bool((self.content or "").strip() or visible_embeds or visible_components or self.poll)

    @pydantic.model_validator(mode="after")
    def _check_components_v2(self) -> Self:
        if (self.flags or 0) & IS_COMPONENTS_V2 and (self.content or self.embeds or self.poll):
            raise PydanticCustomError(
                "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
                "The content, embeds and poll fields cannot be used with MessageFlags.IS_COMPONENTS_V2",
            )
        return self


# pydantic's error types -> Discord's code and message; errors raised above already have Discord's.
_CODES: dict[str, tuple[str, str]] = {
    "missing": ("BASE_TYPE_REQUIRED", "This field is required"),
    "string_type": ("STRING_TYPE_CONVERT", 'Could not interpret "{input}" as string.'),
    "string_pattern_mismatch": ("NUMBER_TYPE_COERCE", 'Value "{input}" is not snowflake.'),
    "int_type": ("NUMBER_TYPE_COERCE", 'Value "{input}" is not int.'),
    "bool_type": ("BOOLEAN_TYPE_CONVERT", "Must be either true or false."),
    "list_type": ("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType"),
    "dict_type": ("DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType"),
    "model_type": ("MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType"),
    "literal_error": ("BASE_TYPE_CHOICES", "Value must be one of ('users', 'roles', 'everyone')."),
    "greater_than_equal": ("NUMBER_TYPE_MIN", "int value should be greater than or equal to {ge}."),
    "less_than_equal": ("NUMBER_TYPE_MAX", "int value should be less than or equal to {le}."),
}

EMPTY_MESSAGE: Json = {"message": "Cannot send an empty message", "code": 50006}


def check_message(body: object, *, with_components: bool) -> Json | None:
    """Return the body of Discord's 400, or ``None`` for a valid message.

    Components count only if the query enables them. Which kinds a webhook may send is not checked.
    """
    try:
        message = Message.model_validate(body)
    except pydantic.ValidationError as invalid:
        return build_form_error(invalid.errors(include_url=False))
    return None if message.is_visible(with_components=with_components) else EMPTY_MESSAGE


def build_form_error(found: list[ErrorDetails]) -> Json:
    """Build the body of a 400: nest the errors by location, each location's under ``_errors``."""
    errors: Json = {}
    for error in found:
        place = errors
        for part in error["loc"]:
            place = place.setdefault(str(part), {})
        code, message = _CODES.get(error["type"], (error["type"], error["msg"]))
        if error["type"] in _CODES:
            message = message.format(input=error["input"], **error.get("ctx", {}))
        place.setdefault("_errors", []).append({"code": code, "message": message})
    return {"message": "Invalid Form Body", "code": 50035, "errors": errors}

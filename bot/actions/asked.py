"""What a workflow hands over: the input of each action, checked before anything is done.

``key`` names the intended effect, and begins with the execution's name: two tasks with the same key are one
message. Ids are strings, as everywhere.
"""

from typing import Annotated, Any, Final, Self

import pydantic
from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from bot.actions.message import Message, Snowflake
from bot.actions.refusal import BAD_INPUT, ActionError
from bot.api.quote import quote

_PROBLEMS_MAX: Final = 5

Key = Annotated[str, StringConstraints(pattern=r"^[^:\s]{1,80}(?::\S+)?$", max_length=256)]


class Asked(BaseModel):
    """What every action is given; ``reason`` goes to Discord's audit log, where the action has an entry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: str
    key: Key
    reason: str | None = None

    @property
    def execution(self) -> str:
        return self.key.partition(":")[0]


class OfPerson(Asked):
    guild_id: Snowflake
    user_id: Snowflake


class OfChannel(Asked):
    guild_id: Snowflake
    channel_id: Snowflake


class Leaving(OfPerson):
    """Only if the person is still in ``from_channel_id``, where that is given."""

    from_channel_id: Snowflake | None = None


class Moving(Leaving):
    channel_id: Snowflake


class Switching(OfPerson):
    on: bool


class OfRole(OfPerson):
    role_id: Snowflake


class _WithMessage(Asked):
    message: Message


class _New(_WithMessage):
    @model_validator(mode="after")
    def _check_text(self) -> Self:
        if self.message.is_empty:
            raise ValueError("message: needs content or an embed")
        return self


class Sending(_New):
    channel_id: Snowflake


class SendingDirect(_New):
    user_id: Snowflake


class OfMessage(Asked):
    channel_id: Snowflake
    message_id: Snowflake


class Editing(_WithMessage, OfMessage):
    pass


def parse_asked(kind: type[Asked], given: dict[str, Any]) -> Asked:
    """Return *given* as *kind*; raises ActionError, whose cause repeats no value."""
    try:
        return kind.model_validate(given)
    except pydantic.ValidationError as error:
        problems = [
            # A name that is not known here may be any text.
            quote(".".join(map(str, each["loc"])) + (": " if each["loc"] else "") + each["msg"])
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    raise ActionError(BAD_INPUT, "; ".join(problems[:_PROBLEMS_MAX]))

"""What a rule may hand to a workflow: one model for each workflow that takes parameters.

    [[rule]]
    workflow = "admit"
    [rule.parameters]
    …                       # the fields of that workflow's model

A rule is checked against the model where it is read, with the line of each mistake. What it says goes into
the execution's input as it is written there, so the workflow decides what an absent value means; the model's
default says what that is.

The values come from TOML: texts, numbers, true and false, lists and tables, and no null. A validator's own
message continues from the name of the parameter, and does not repeat the value, which may be a misplaced
secret.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

import pydantic

ID_WANTED: Final = 'must be digits in quotes, like "127121515262115840"'


def _check_id(value: object) -> str:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
        return value
    raise ValueError(ID_WANTED)


Snowflake = Annotated[str, pydantic.BeforeValidator(_check_id)]
"""An id of Discord's, which does not fit into the double in which a workflow would hold a number."""


class Parameters(pydantic.BaseModel):
    """The base of the models: a key that is not a field is refused, and no value is converted."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


_DAY_S: Final = 86_400
"""The executions of these workflows end six hours after the longest wait: see their TimeoutSeconds."""
_Ids = Annotated[list[Snowflake], pydantic.Field(max_length=20)]


class AdmitParameters(Parameters):
    """The waiting room: where, who decides, and how long they have."""

    target_channel: Snowflake
    staff_channel: Snowflake
    deciding_roles: _Ids = []
    deciding_users: _Ids = []
    # Checked by its default too, so that it is named along with other fields that are missing.
    deciding_permission: (
        Literal[
            "administrator",
            "ban_members",
            "deafen_members",
            "kick_members",
            "manage_channels",
            "manage_guild",
            "manage_roles",
            "moderate_members",
            "move_members",
            "mute_members",
        ]
        | None
    ) = pydantic.Field(None, validate_default=True)
    escalation_role: Snowflake | None = None
    escalate_after_s: Annotated[int, pydantic.Field(ge=1, lt=_DAY_S)] = 300
    expire_after_s: Annotated[int, pydantic.Field(ge=1, le=_DAY_S)] = 1800
    decline: Literal["disconnect", "stay"] = "stay"
    ping: bool = True

    @pydantic.field_validator("deciding_permission")
    @classmethod
    def _check_deciders(cls, value: str | None, info: pydantic.ValidationInfo) -> str | None:
        """Raise ValueError if nobody may decide; a list that is wrong is named by itself."""
        lists = [info.data.get(name, True) for name in ("deciding_roles", "deciding_users")]
        if value is None and not any(lists):
            raise ValueError(
                "is missing, as are deciding_roles and deciding_users: say with one who may decide"
            )
        return value

    @pydantic.model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.escalation_role is None and "escalate_after_s" in self.model_fields_set:
            raise ValueError("have escalate_after_s, but no escalation_role to ask then")
        if self.escalation_role is not None and self.escalate_after_s >= self.expire_after_s:
            raise ValueError(
                f"ask the second role after {self.escalate_after_s} s (escalate_after_s), when the card has "
                f"expired already: expire_after_s must be more"
            )
        return self


class EscortParameters(Parameters):
    """What is done with whom, and after how long."""

    do: Literal["ask", "disconnect", "move", "mute"]
    whom: Literal["alone", "person"] = "person"
    wait_s: Annotated[int, pydantic.Field(ge=0, le=_DAY_S)] = 0
    target_channel: Snowflake | None = None
    # https://docs.discord.com/developers/resources/message#create-message-jsonform-params
    text: Annotated[str, pydantic.Field(min_length=1, max_length=2000)] | None = None

    @pydantic.model_validator(mode="after")
    def _check_together(self) -> Self:
        for deed, name, value in (
            ("move", "target_channel", self.target_channel),
            ("ask", "text", self.text),
        ):
            if (self.do == deed) is not (value is not None):
                remedy = f"need {name}" if self.do == deed else f"have {name}, which is only for {deed}"
                raise ValueError(f'with do = "{self.do}" {remedy}')
        return self


class ReportParameters(Parameters):
    """What another API is told: the CloudEvent as it is, or one level of fields, with fixed *fields* beside
    them, over which what the event says wins.
    """

    format: Literal["event", "flat"] = "event"
    fields: Mapping[str, str | int | float | bool] = pydantic.Field(default_factory=dict)

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

from typing import Annotated

import pydantic

ID_WANTED = 'must be digits in quotes, like "127121515262115840"'


def _check_id(value: object) -> str:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
        return value
    raise ValueError(ID_WANTED)


Snowflake = Annotated[str, pydantic.BeforeValidator(_check_id)]
"""An id of Discord's, which does not fit into the double in which a workflow would hold a number."""


class Parameters(pydantic.BaseModel):
    """The base of the models: a key that is not a field is refused, and no value is converted."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

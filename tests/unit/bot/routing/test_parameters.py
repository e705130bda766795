"""Parameters of a rule: what can be sent, what the workflow takes, and what is said, with the line."""

from types import MappingProxyType
from typing import Annotated

import orjson
import pydantic
import pytest

from bot.errors import SettingsError
from bot.routing import parameters as checked
from bot.routing.rules_file import parse_rules
from workflow.parameters import Parameters, Snowflake
from workflow.registry import WORKFLOWS, Kind, Workflow


class AskParameters(Parameters):
    """As a workflow that asks somebody might have."""

    target_channel: Snowflake
    roles: list[Snowflake] = pydantic.Field(min_length=1, max_length=3)
    wait_s: Annotated[int, pydantic.Field(ge=60, le=86_400)] = 600
    note: Annotated[str, pydantic.Field(max_length=20)] | None = None


@pytest.fixture(autouse=True)
def ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow ``ask`` that takes parameters."""
    known = Workflow("ask", Kind.STANDARD, max_events=1, parameters=AskParameters)
    monkeypatch.setattr(checked, "WORKFLOWS", MappingProxyType({**WORKFLOWS, "ask": known}))


def read(*lines: str) -> str:
    """Return the parameters of the rule of these *lines*."""
    (rule,) = parse_rules("\n".join(["[[rule]]", *lines]), "rules.toml").rules
    (route,) = rule.routes
    return route.parameters


def problems(*lines: str) -> list[str]:
    """Return what is wrong with the rule of these *lines*, which begin with line 2."""
    with pytest.raises(SettingsError) as caught:
        read(*lines)
    return [problem.removeprefix("rules.toml ").replace(", rule 1", "") for problem in caught.value.problems]


def test_reach_the_route_as_written() -> None:
    """What is left out stays out: the workflow decides what that means."""
    lines = ('workflow = "ask"', "[rule.parameters]", 'target_channel = "5"', 'roles = ["7", "8"]')
    assert read(*lines) == '{"target_channel":"5","roles":["7","8"]}'


def test_none_is_empty_object() -> None:
    assert read() == read("[rule.parameters]") == "{}"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("target_chanel = '5'", "line 4: ask has no parameter target_chanel: did you mean target_channel?"),
        ("zzz = 5", "line 4: ask has no parameter zzz: it takes target_channel, roles, wait_s and note"),
        ('"a b" = 5', "line 4: ask has no parameter …: it takes target_channel, roles, wait_s and note"),
        ("wait_s = 5", "line 4: parameters.wait_s must be greater than or equal to 60"),
        ("wait_s = 60.5", "line 4: parameters.wait_s must be a whole number"),
        ("wait_s = true", "line 4: parameters.wait_s must be a whole number"),
        ("note = 5", "line 4: parameters.note must be a text in quotes"),
        (f"note = '{'x' * 21}'", "line 4: parameters.note must have at most 20 characters"),
    ],
)
def test_unfit_value_is_explained(written: str, problem: str) -> None:
    lines = ('workflow = "ask"', "[rule.parameters]", written, "target_channel = '5'", "roles = ['7']")
    assert problems(*lines) == [problem]


def test_names_each_id_that_is_none() -> None:
    found = problems('workflow = "ask"', "[rule.parameters]", "target_channel = 5", "roles = [", "'7',", "8]")
    wanted = 'must be digits in quotes, like "127121515262115840"'
    assert found == [
        f"line 4: parameters.target_channel {wanted}",
        f"line 7: parameters.roles {wanted}",
    ]


def test_names_what_is_missing() -> None:
    assert problems('workflow = "ask"', "[rule.parameters]", "wait_s = 60") == [
        "line 3: ask needs target_channel and roles in [rule.parameters]"
    ]
    assert problems("", 'workflow = "ask"') == [
        "line 1: ask needs target_channel and roles in [rule.parameters]"
    ]


def test_workflow_without_parameters_refuses_them() -> None:
    assert problems("[rule.parameters]", "a = 1") == [
        "line 2: notify takes no parameters: remove [rule.parameters]"
    ]


def test_own_workflow_takes_any() -> None:
    text = 'limit = 5\nshare = 0.5\nhow = {loud = true, to = ["a", [1]]}\n"odd key" = ""'
    assert orjson.loads(read('workflow = "audit"', "[rule.parameters]", text)) == {
        "limit": 5,
        "share": 0.5,
        "how": {"loud": True, "to": ["a", [1]]},
        "odd key": "",
    }


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("parameters = 5", "line 3: parameters must be a table: write them below [rule.parameters]"),
        ("parameters = [{a = 1}]", "line 3: parameters must be a table: write them below [rule.parameters]"),
        (
            "parameters = {at = 07:30:00}",
            "line 3: parameters hold a date or time in at: write it in quotes",
        ),
        (
            "parameters = {a = {b = [1, 2026-11-21]}}",
            "line 3: parameters hold a date or time in a.b: write it in quotes",
        ),
        (
            "parameters = {a = 127121515262115840}",
            "line 3: parameters hold too large a number in a: write it in quotes",
        ),
        ("parameters = {a = -inf}", "line 3: parameters hold too large a number in a: write it in quotes"),
        ("parameters = {a = nan}", "line 3: parameters hold too large a number in a: write it in quotes"),
        (
            f"parameters = {{a = {'[' * 10}{']' * 10}}}",
            "line 3: parameters are nested too deep: at most 10 levels are sent",
        ),
        (
            f"parameters = {{a = '{'x' * 4089}'}}",
            "line 3: parameters take 4097 bytes as JSON: at most 4096 fit",
        ),
    ],
)
def test_unsendable_value_is_refused(written: str, problem: str) -> None:
    assert problems('workflow = "audit"', written) == [problem]


@pytest.mark.parametrize(
    "written", [f"{{a = '{'x' * 4088}'}}", "{a = 9007199254740991}", f"{{a = {'[' * 9}{']' * 9}}}"]
)
def test_limits_are_sent(written: str) -> None:
    assert read('workflow = "audit"', f"parameters = {written}")


def test_secret_is_not_repeated() -> None:
    secret = "MTE3NzE5ODM0MjM0MzQzMDA"
    lines = (f'target_channel = "{secret}"', f'roles = "{secret}"', f'wait_s = "{secret}"', "note = 1")
    found = problems('workflow = "ask"', "[rule.parameters]", *lines)
    assert len(found) == 4
    assert secret not in "".join(found)

"""What a rule may hand to the bundled workflows, and that a model's defaults are the workflow's own."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pydantic
import pytest

from bot.errors import SettingsError
from bot.routing.rules_file import parse_rules
from bot.routing.untaken import find_untaken
from tests.unit.workflow import test_admit, test_escort
from workflow.parameters import AdmitParameters, EscortParameters, ReportParameters

ADMIT = {"target_channel": "5", "staff_channel": "6", "deciding_permission": "move_members"}


def check(workflow: str, given: dict[str, Any]) -> list[str]:
    """Return what ``rules check`` says about a rule with these parameters."""
    lines = [
        "[[rule]]",
        f'workflow = "{workflow}"',
        "[rule.parameters]",
        # So simple a JSON is TOML too.
        *(f"{key} = {json.dumps(value)}" for key, value in given.items()),
    ]
    try:
        parse_rules("\n".join(lines), "rules.toml")
    except SettingsError as error:
        return [problem.rpartition(": parameters")[2] for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "given",
    [
        ADMIT,
        ADMIT | {"deciding_roles": ["7"], "deciding_users": ["8"], "ping": False, "decline": "disconnect"},
        ADMIT | {"escalation_role": "9"},
        ADMIT | {"escalation_role": "9", "escalate_after_s": 60, "expire_after_s": 86_400},
    ],
)
def test_admit_takes(given: dict[str, Any]) -> None:
    assert check("admit", given) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"deciding_permission": None},
            (
                ".deciding_permission is missing, as are deciding_roles and deciding_users: "
                "say with one who may decide"
            ),
        ),
        ({"escalate_after_s": 5}, " have escalate_after_s, but no escalation_role to ask then"),
        (
            {"escalation_role": "9", "expire_after_s": 300},
            (
                " ask the second role after 300 s (escalate_after_s), when the card has expired already: "
                "expire_after_s must be more"
            ),
        ),
        ({"expire_after_s": 86_401}, ".expire_after_s must be less than or equal to 86400"),
        ({"expire_after_s": 0}, ".expire_after_s must be greater than or equal to 1"),
        ({"decline": "kick"}, ".decline must be 'disconnect' or 'stay'"),
        ({"staff_channel": 6}, '.staff_channel must be digits in quotes, like "127121515262115840"'),
        ({"deciding_roles": "7"}, ".deciding_roles must be a list"),
    ],
)
def test_admit_refuses(change: dict[str, Any], problem: str) -> None:
    given = {key: value for key, value in (ADMIT | change).items() if value is not None}
    assert check("admit", given) == [problem]


def test_admit_names_all_that_is_missing() -> None:
    given = {"staff_channel": "6"}
    deciders, channel = sorted(check("admit", given))
    assert deciders.startswith(".deciding_permission is missing, as are deciding_roles and deciding_users")
    assert channel.endswith("admit needs target_channel in [rule.parameters]")


@pytest.mark.parametrize(
    "given",
    [
        {"do": "move", "target_channel": "5", "wait_s": 600, "whom": "alone"},
        {"do": "mute"},
        {"do": "disconnect", "wait_s": 0},
        {"do": "ask", "text": "Why?"},
    ],
)
def test_escort_takes(given: dict[str, Any]) -> None:
    assert check("escort", given) == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"do": "move"}, ' with do = "move" need target_channel'),
        ({"do": "ask"}, ' with do = "ask" need text'),
        ({"do": "mute", "text": "x"}, ' with do = "mute" have text, which is only for ask'),
        ({"do": "dance"}, ".do must be 'ask', 'disconnect', 'move' or 'mute'"),
        ({"do": "mute", "wait_s": 86_401}, ".wait_s must be less than or equal to 86400"),
    ],
)
def test_escort_refuses(given: dict[str, Any], problem: str) -> None:
    assert check("escort", given) == [problem]


@pytest.mark.parametrize("escalation", [{}, {"escalation_role": test_admit.SECOND}])
def test_admit_means_its_defaults(escalation: dict[str, str]) -> None:
    """The workflow does the same whether a default is written out or left out."""
    given = test_admit.PARAMETERS | escalation
    full = AdmitParameters.model_validate(given).model_dump(exclude_none=True)
    reminded: list[Any] = [test_admit.CARD] if escalation else []
    waits = [test_admit.TIMED_OUT] * (1 + len(escalation))

    plain, spelled = (
        test_admit.walk(*waits, parameters=each, AskSecondRole=reminded) for each in (given, full)
    )

    assert spelled.tasks == plain.tasks
    assert spelled.timeouts == plain.timeouts


def test_escort_means_its_defaults() -> None:
    full = EscortParameters.model_validate({"do": "mute"}).model_dump(exclude_none=True)

    plain, spelled = (
        test_escort.walk("joined", [test_escort.NELLY], into=test_escort.STAGE, **each)
        for each in ({"do": "mute"}, full)
    )

    assert spelled.tasks == plain.tasks


@pytest.mark.parametrize("given", [{}, {"format": "flat"}, {"format": "event"}])
def test_report_takes(given: dict[str, Any]) -> None:
    assert check("report", given) == []


def test_report_takes_plain_fields() -> None:
    """They go into a JSON object as they are."""
    fields = {"list": "42", "urgent": True, "weight": 1.5, "count": 3}

    assert ReportParameters.model_validate({"fields": fields}).fields == fields
    with pytest.raises(pydantic.ValidationError):
        ReportParameters.model_validate({"fields": {"list": ["42"]}})


def test_report_names_unknown_format() -> None:
    (problem,) = check("report", {"format": "xml"})

    assert problem.startswith(".format ")


_SECTION = re.compile(r"^### A waiting room\n(.*?)^## ", re.DOTALL | re.MULTILINE)
_TOML = re.compile(r"^( *)```toml\n(.*?)```", re.DOTALL | re.MULTILINE)


def test_readme_shows_valid_rules() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    section = _SECTION.search(readme)
    assert section is not None
    shown = [textwrap.dedent(indent + text) for indent, text in _TOML.findall(section[1])]

    workflows = [[rule.workflow for rule in parse_rules(text, "README").rules] for text in shown]
    assert workflows == [["admit", "admit", "notify"], ["escort", "notify"]]
    assert [find_untaken(parse_rules(text, "README")) for text in shown] == [[], []]
    # https://docs.discord.com/developers/topics/permissions#permissions-bitwise-permission-flags
    needed = sum(1 << bit for bit in (10, 11, 14, 17, 20, 24))
    assert f"permissions={needed}`" in section[1]

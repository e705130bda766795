"""What is wrong with a definition is said before anything is deployed."""

import json
from pathlib import Path
from typing import Any

import pytest

from bot.errors import SettingsError
from infra.deploy.definition import parse_definition, read_definition
from infra.deploy.grants import find_actions, find_methods, find_ungranted

SOUND: dict[str, Any] = {
    "QueryLanguage": "JSONata",
    "StartAt": "Fork",
    "States": {
        "Fork": {
            "Type": "Parallel",
            "Branches": [{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Done"}],
            "Next": "Choose",
        },
        "Choose": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% true %}", "Next": "Done"}],
            "Default": "Each",
        },
        "Each": {
            "Type": "Map",
            "ItemProcessor": {"StartAt": "B", "States": {"B": {"Type": "Pass", "End": True}}},
            "Next": "Done",
        },
        "Done": {"Type": "Succeed"},
    },
}


def problems(
    change: tuple[str, str] | None = None, text: str | None = None, name: str = "own", **values: str
) -> list[str]:
    """The problems of the sound definition, with one piece of its text changed."""
    whole = json.dumps(SOUND) if text is None else text
    if change is not None:
        assert change[0] in whole
        whole = whole.replace(*change)
    with pytest.raises(SettingsError) as caught:
        parse_definition(whole, where="own.json", name=name, values=values)
    return list(caught.value.problems)


def test_sound_definition_passes() -> None:
    found = parse_definition(json.dumps(SOUND), where="own.json", name="own", values={})

    assert (found.name, found.placeholders, found.tasks, found.needs) == ("own", frozenset(), {}, frozenset())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('"JSONata"', '"JSON"'), 'own.json: QueryLanguage is missing: add "QueryLanguage": "JSONata"'),
        (
            ('"StartAt": "Fork"', '"StartAt": "Frok"'),
            "the definition starts at Frok, which is not one of its States",
        ),
        (
            ('"Next": "Choose"', '"Next": "Chose"'),
            "the state Fork leads to Chose, which is not beside it (did you mean Choose?)",
        ),
        (('"Default": "Each"', '"Default": "B"'), "the state Choose leads to B, which is not beside it"),
        (('["States.ALL"], "Next": "Done"', '["States.ALL"], "Next": "A"'), "the state Fork leads to A"),
        (('"StartAt": "B"', '"StartAt": "Done"'), "a part of the state Each starts at Done, which is not"),
        (
            ('"Type": "Succeed"', '"Type": "Success"'),
            "the state Done is not an object with a Type, one of Task, ",
        ),
        (('"Type": "Pass", "End": true', '"Type": "Pass"'), "the state A leads nowhere: give it a Next, or"),
        (('"Type": "Succeed"', '"Comment": "${Nothing}"'), "the state Done is not an object with a Type"),
        (('"Type": "Succeed"', '"Type": "Succeed", "Comment": "${ProxyHost}"'), "${ProxyHost} is not known"),
    ],
)
def test_problem_is_named(change: tuple[str, str], sentence: str) -> None:
    assert any(sentence in problem for problem in problems(change))


def test_every_problem_at_once() -> None:
    assert len(problems(text='{"StartAt": "X", "States": {}, "Comment": "${A} ${B}"}')) == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "own.json is not JSON: "), ("[]", "own.json: a definition is an object with StartAt and States")],
)
def test_shape_is_checked(text: str, sentence: str) -> None:
    assert problems(text=text)[0].startswith(sentence)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("two words", "'two words' is not a workflow's name"),
        ("notify", "the relay's stack has a workflow notify already"),
        ("status", "the relay's stack has a workflow status already"),
    ],
)
def test_name_is_checked(name: str, sentence: str) -> None:
    assert sentence in problems(name=name)[0]


def test_own_copy_may_have_a_bundled_name() -> None:
    """An owner may fill in what admit does afterwards."""
    assert parse_definition(json.dumps(SOUND), where="admit.json", name="admit", values={}).name == "admit"


def test_values_are_filled_in() -> None:
    text = json.dumps(SOUND).replace('"Succeed"', '"Succeed", "Comment": "${Queue} in ${Region}"')

    found = parse_definition(text, where="own.json", name="own", values={"Queue": 'the "first"'})

    assert json.loads(found.text)["States"]["Done"]["Comment"] == 'the "first" in ${Region}'
    assert found.placeholders == {"Region"}


def test_values_without_effect_are_named() -> None:
    text = json.dumps(SOUND).replace('"Succeed"', '"Succeed", "Comment": "${Queue}"')

    found = problems(text=text, Queu="x", Region="y")

    assert "--set Region=… has no effect: the stack fills ${Region} in" in found[0]
    assert "--set Queu=… has no effect: the definition has no ${Queu} (did you mean Queue?)" in found[1]
    assert "${Queue} is not known: set it with --set Queue=…" in found[2]


@pytest.mark.parametrize(
    ("written", "sentence"),
    [(None, "none.asl.json cannot be read: No such file"), (b"\xff", "none.asl.json is not text in UTF-8")],
)
def test_unreadable_file_is_named(tmp_path: Path, written: bytes | None, sentence: str) -> None:
    path = tmp_path / "none.asl.json"
    if written is not None:
        path.write_bytes(written)

    with pytest.raises(SettingsError, match=sentence):
        read_definition(path)


def test_tasks_show_what_they_need() -> None:
    tasks = {
        "Post": {"Resource": "arn:${Partition}:states:::apigateway:invoke"},
        "Act": {"Resource": "${ActionsActivity}"},
        "Wait": {"Resource": "arn:${Partition}:states:::aws-sdk:dynamodb:putItem.waitForTaskToken"},
        "Call": {"Resource": "arn:aws:states:::http:invoke", "Arguments": {"Method": "PATCH"}},
        "Computed": {"Resource": "arn:aws:states:::http:invoke", "Arguments": {"Method": "{% $m %}"}},
        "Other": {"Resource": "arn:${Partition}:states:::lambda:invoke"},
    }

    assert [name for name, _ in find_ungranted(tasks, {"posts", "acts", "waits", "calls"})] == ["Other"]
    assert [name for name, _ in find_ungranted(tasks, {"acts"})] == [
        "Post",
        "Wait",
        "Call",
        "Computed",
        "Other",
    ]
    assert find_methods(tasks) == ["PATCH"]


def test_actions_are_found() -> None:
    """Each once; a computed one is not known before."""
    tasks = {
        name: {"Resource": "${ActionsActivity}", "Arguments": {"action": action}}
        for name, action in {"A": "send", "B": "move", "C": "send", "D": "{% $action %}"}.items()
    }
    other = {"Resource": "arn:aws:states:::lambda:invoke", "Arguments": {"action": "mute"}}

    assert find_actions({**tasks, "Other": other}) == ["move", "send"]

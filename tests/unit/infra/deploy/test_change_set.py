"""What a person reads before saying yes."""

from typing import Any

import pytest

from infra.deploy.change_set import (
    ChangeSet,
    ParameterChange,
    compare_parameters,
    parse_changes,
    render_changes,
)


def _change(action: str, logical_id: str, kind: str = "AWS::Test", **more: Any) -> dict[str, Any]:
    change = {"Action": action, "LogicalResourceId": logical_id, "ResourceType": kind, **more}
    return {"Type": "Resource", "ResourceChange": change}


def _render(
    *changes: dict[str, Any], parameters: tuple[ParameterChange, ...] = (), creates: bool = False
) -> str:
    change_set = ChangeSet("arn", "arn", creates, parse_changes(changes), parameters)
    return "\n".join(render_changes(change_set))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_change("Add", "A"), "add          AWS::Test  A"),
        (_change("Modify", "A", Replacement="False"), "change       AWS::Test  A"),
        (_change("Modify", "A", Replacement="True"), "REPLACE      AWS::Test  A"),
        (_change("Modify", "A", Replacement="Conditional"), "MAY REPLACE  AWS::Test  A"),
        (_change("Remove", "A"), "REMOVE       AWS::Test  A"),
        (_change("Dynamic", "A"), "MAY CHANGE   AWS::Test  A"),
        (_change("Import", "A"), "import       AWS::Test  A"),
        (_change("SyncWithActual", "A"), "MAY CHANGE   AWS::Test  A"),
    ],
)
def test_says_what_happens_to_each_resource(change: dict[str, Any], line: str) -> None:
    assert line in _render(change)


def test_what_is_lost_comes_first_and_is_said_again() -> None:
    text = _render(
        _change("Add", "New"),
        _change("Modify", "IngressApi", "AWS::ApiGatewayV2::Api", Replacement="True"),
        _change("Remove", "BotUser", "AWS::IAM::User"),
    )

    lines = text.split("\n")
    assert [line.split()[-1] for line in lines[:3]] == ["BotUser", "IngressApi", "New"]
    assert lines[3] == "3 resources: 1 to remove, 1 to replace, 1 to add"
    assert lines[4:] == [
        "Note: BotUser is removed: its access keys stop working.",
        "Note: IngressApi is REPLACED by a new one: its address changes, and requests to the old one fail.",
    ]


def test_names_what_changes_about_a_resource() -> None:
    details = [
        {"Target": {"Attribute": "Properties", "Name": "Description"}},
        {"Target": {"Attribute": "Properties", "Name": "Description"}},
        {"Target": {"Attribute": "Tags"}},
    ]

    assert "A (Description, Tags)" in _render(_change("Modify", "A", Replacement="False", Details=details))


def test_parameters_are_shown_with_what_they_were() -> None:
    changes = compare_parameters(
        {"A": "1", "B": "2", "Old": "x", "Same": "s"}, {"A": "1", "B": "", "New": "n", "Same": "s"}
    )

    text = _render(parameters=changes)

    assert '  B: 2 -> ""\n  New: (none) -> n\n  Old: x -> (removed)\n' in text
    assert "Same" not in text
    assert "No resource changes." in text


def test_a_new_stack_has_no_parameters_before() -> None:
    changes = (ParameterChange("A", "1", "2"),)

    assert "  A: 2\n" in _render(parameters=changes, creates=True)


def test_nothing_that_a_name_holds_moves_the_cursor() -> None:
    assert "\x1b" not in _render(parameters=(ParameterChange("A", None, "\x1b[2J"),))

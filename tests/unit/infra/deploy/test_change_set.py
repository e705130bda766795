"""The change set as it is shown for review."""

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
def test_renders_each_action(change: dict[str, Any], line: str) -> None:
    assert line in _render(change)


def test_lists_losses_first_and_notes_them() -> None:
    """Destructive changes come first, and a note says what each one loses."""
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


def test_names_changed_properties() -> None:
    details = [
        {"Target": {"Attribute": "Properties", "Name": "Description"}},
        {"Target": {"Attribute": "Properties", "Name": "Description"}},
        {"Target": {"Attribute": "Tags"}},
    ]

    assert "A (Description, Tags)" in _render(_change("Modify", "A", Replacement="False", Details=details))


def test_renders_parameter_changes() -> None:
    """Each changed parameter shows its old and new value."""
    changes = compare_parameters(
        {"A": "1", "B": "2", "Old": "x", "Same": "s"}, {"A": "1", "B": "", "New": "n", "Same": "s"}
    )

    text = _render(parameters=changes)

    assert '  B: 2 -> ""\n  New: (none) -> n\n  Old: x -> (removed)\n' in text
    assert "Same" not in text
    assert "No resource changes." in text


def test_new_stack_shows_values_only() -> None:
    changes = (ParameterChange("A", "1", "2"),)

    assert "  A: 2\n" in _render(parameters=changes, creates=True)


def test_escapes_control_characters() -> None:
    assert "\x1b" not in _render(parameters=(ParameterChange("A", None, "\x1b[2J"),))

"""A template with its workflows put in."""

import json
from pathlib import Path

import pytest

from infra.deploy import TEMPLATE
from infra.template import MAX_INLINE_BYTES, TemplateError, build_template
from tests.unit.infra.template_yaml import load_template


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "t.yaml"
    path.write_text(
        "Resources:\n  M:\n    Properties:\n      DefinitionS3Location: w.asl.json\n      RoleArn: r\n"
    )
    return path


def _definition(body: str) -> object:
    return json.loads(load_template(body)["Resources"]["M"]["Properties"]["DefinitionString"])


@pytest.mark.parametrize(
    "definition",
    [
        {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}},
        {"Comment": "{% $x & '\"' & \"\\n\" %} # not a comment: 'x' \t \u2028 \U0001f7e2 ${Host}"},
    ],
)
def test_puts_the_definition_in_unchanged(template: Path, definition: object) -> None:
    (template.parent / "w.asl.json").write_text(json.dumps(definition, indent=2, ensure_ascii=False), "utf-8")

    body = build_template(template)

    assert _definition(body) == definition
    assert load_template(body)["Resources"]["M"]["Properties"]["RoleArn"] == "r"
    assert "DefinitionS3Location" not in body


def test_is_ascii_whatever_the_definition_is(template: Path) -> None:
    """CloudFormation has been seen to turn other characters into question marks."""
    (template.parent / "w.asl.json").write_text('{"Comment": "\U0001f7e2 é"}', "utf-8")

    assert build_template(template).isascii()


def test_the_shipped_template_is_ascii_and_fits_without_a_bucket() -> None:
    body = build_template(TEMPLATE)

    assert body.isascii()
    assert len(body) < MAX_INLINE_BYTES
    assert "DefinitionS3Location" not in load_template(body)["Resources"]["NotifyStateMachine"]["Properties"]


def test_says_when_it_does_not_fit(template: Path) -> None:
    (template.parent / "w.asl.json").write_text(json.dumps({"Comment": "x" * MAX_INLINE_BYTES}))

    with pytest.raises(TemplateError, match=r"t\.yaml is \d+ bytes"):
        build_template(template)


def test_says_which_definition_is_missing(template: Path) -> None:
    with pytest.raises(TemplateError, match=r"w\.asl\.json cannot be read: No such file"):
        build_template(template)


def test_says_which_definition_is_not_json(template: Path) -> None:
    (template.parent / "w.asl.json").write_text("{")

    with pytest.raises(TemplateError, match=r"w\.asl\.json is not JSON"):
        build_template(template)

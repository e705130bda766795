"""A template with its workflows put in."""

import json
from pathlib import Path

import pytest

from infra.deploy.engine import TEMPLATE
from infra.deploy.template import (
    MAX_INLINE_BYTES,
    Template,
    TemplateError,
    build_template,
    drop_comments,
    drop_default_policies,
    drop_descriptions,
    drop_scan_exceptions,
    narrow,
)
from infra.deploy.template import load_template as read_template
from tooling.template_yaml import load_template


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


def test_template_is_ascii(template: Path) -> None:
    """CloudFormation has been seen to turn other characters into question marks."""
    (template.parent / "w.asl.json").write_text('{"Comment": "\U0001f7e2 é"}', "utf-8")

    assert build_template(template).isascii()


def test_shipped_template_fits_inline() -> None:
    body = build_template(TEMPLATE)

    assert body.isascii()
    assert len(body) < MAX_INLINE_BYTES
    assert "DefinitionS3Location" not in load_template(body)["Resources"]["NotifyStateMachine"]["Properties"]


def test_refuses_template_that_does_not_fit(template: Path) -> None:
    (template.parent / "w.asl.json").write_text(json.dumps({"Comment": "x" * MAX_INLINE_BYTES}))

    with pytest.raises(TemplateError, match=r"t\.yaml is \d+ bytes"):
        build_template(template)


def test_names_missing_definition(template: Path) -> None:
    with pytest.raises(TemplateError, match=r"w\.asl\.json cannot be read: No such file"):
        build_template(template)


def test_names_invalid_definition(template: Path) -> None:
    (template.parent / "w.asl.json").write_text("{")

    with pytest.raises(TemplateError, match=r"w\.asl\.json is not JSON"):
        build_template(template)


@pytest.mark.parametrize("path", sorted(TEMPLATE.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_dropped_comments_change_nothing(path: Path) -> None:
    body = path.read_text()

    dropped = drop_comments(body)

    assert load_template(dropped) == load_template(body)
    assert len(dropped) < len(body)


def test_dropped_policies_are_the_default() -> None:
    body = TEMPLATE.read_text()
    whole, dropped = load_template(body), load_template(drop_default_policies(body))
    names = [name for name, each in whole["Resources"].items() if "DeletionPolicy" in each]

    for name in names:
        for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
            assert whole["Resources"][name].pop(policy) == "Delete"

    assert names
    assert dropped == whole


@pytest.mark.parametrize("path", sorted(TEMPLATE.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_narrowing_changes_nothing(path: Path) -> None:
    body = drop_comments(path.read_text())

    assert load_template(narrow(body)) == load_template(body)
    assert len(narrow(body)) < len(body)


@pytest.mark.parametrize("path", sorted(TEMPLATE.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_leaves_out_only_what_informs(path: Path) -> None:
    body = drop_comments(path.read_text())
    whole = load_template(body)
    for section in ("Parameters", "Outputs"):
        for declared in whole.get(section, {}).values():
            del declared["Description"]
    whole.get("Metadata", {}).pop("AWS::CloudFormation::Interface", None)
    if not whole.get("Metadata", True):
        del whole["Metadata"]
    for resource in whole["Resources"].values():
        if isinstance(resource, dict) and resource.get("Metadata", {}).keys() == {"checkov"}:
            del resource["Metadata"]

    assert load_template(drop_descriptions(drop_scan_exceptions(body))) == whole


def test_narrowing_keeps_text() -> None:
    body = (
        "P:\n  Q: 1\nResources:\n  B: |\n    x\n      y\n\n    z\n"
        "  C:\n    - D: |\n        v\n      E: 1\n    - |\n      w\n       u\n"
    )

    narrowed = narrow(body)

    assert load_template(narrowed) == {
        "P": {"Q": 1},
        "Resources": {"B": "x\n  y\n\nz\n", "C": [{"D": "v\n", "E": 1}, "w\n u\n"]},
    }
    assert narrowed == (
        "P:\n  Q: 1\nResources:\n B: |\n  x\n    y\n\n  z\n"
        " C:\n  - D: |\n     v\n    E: 1\n  - |\n     w\n      u\n"
    )


def test_text_keeps_hash_signs() -> None:
    body = (
        "A:\n  # goes |\n  B: |\n    # stays\n\n    x\n\n"
        "  # goes\n  C: >-  # goes\n    # stays\n  D: !Sub |\n    # stays\n  E: [1] # stays\n"
    )

    assert drop_comments(body) == (
        "A:\n  B: |\n    # stays\n\n    x\n\n"
        "  C: >-  # goes\n    # stays\n  D: !Sub |\n    # stays\n  E: [1] # stays\n"
    )


def test_comments_stay_where_they_fit(template: Path) -> None:
    (template.parent / "w.asl.json").write_text(json.dumps({"Comment": "x" * (MAX_INLINE_BYTES - 200)}))
    small = template.read_text() + "# why\n"
    template.write_text(small)
    assert "# why" in read_template(template).body

    template.write_text(small + "# why not\n" * 20)

    found = read_template(template)
    assert found.fits_inline
    assert "# why" not in found.body


def test_counts_what_a_loop_becomes() -> None:
    loop = "  Fn::ForEach::Each:\n    - Name\n    - !Ref Names\n\n    - A:\n        Type: B\n"
    template = Template("t", f"Resources:\n{loop}  Other:\n    Type: C\n")

    assert template.expanded_bytes(1) == template.size_bytes
    assert template.expanded_bytes(3) == template.size_bytes + 2 * len(loop)


def test_refuses_template_above_one_megabyte(template: Path) -> None:
    (template.parent / "w.asl.json").write_text(json.dumps({"Comment": "x" * 1_000_000}))

    with pytest.raises(TemplateError, match=r"t\.yaml is \d+ bytes"):
        read_template(template)

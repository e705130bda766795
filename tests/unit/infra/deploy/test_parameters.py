"""Parameter checks: declarations are parsed from the template, and every problem is reported at once."""

import pytest

from bot.errors import SettingsError
from infra.deploy.parameters import check_parameters, parse_declared
from infra.deploy.stack_kinds import STACK_KINDS, StackKind
from tooling.template_yaml import load_template

BODY = """
Parameters:
  # First
  VpcId:
    Type: String

  SubnetId:
    Type: String
    Description: >-
      Default: none
  Size:
    Type: Number
    Default: 1
Resources:
  Default:
    Type: AWS::Test
"""


def test_reports_every_problem() -> None:
    """One error names every missing and every unknown parameter."""
    with pytest.raises(SettingsError) as raised:
        check_parameters(BODY, given=["Sise"], present=[])

    assert raised.value.problems == (
        "the template has no parameter Sise: did you mean Size?",
        "give --parameter VpcId=…, --parameter SubnetId=…",
    )


def test_accepts_parameters_of_the_stack() -> None:
    check_parameters(BODY, given=["VpcId"], present=["SubnetId"])


@pytest.mark.parametrize("kind", STACK_KINDS.values(), ids=lambda kind: kind.name)
def test_matches_yaml_parser(kind: StackKind) -> None:
    """The regular expressions find what a YAML parser finds in each template."""
    declared = load_template(kind.template.read_text())["Parameters"]

    assert parse_declared(kind.template.read_text()) == {
        name: "Default" in declaration for name, declaration in declared.items()
    }

"""What a template asks for is found in its text, and all that is wrong is said at once."""

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


def test_names_all_that_is_missing_and_all_that_is_unknown() -> None:
    with pytest.raises(SettingsError) as raised:
        check_parameters(BODY, given=["Sise"], present=[])

    assert raised.value.problems == (
        "the template has no parameter Sise: did you mean Size?",
        "give --parameter VpcId=…, --parameter SubnetId=…",
    )


def test_what_the_stack_has_need_not_be_given() -> None:
    check_parameters(BODY, given=["VpcId"], present=["SubnetId"])


@pytest.mark.parametrize("kind", STACK_KINDS.values(), ids=lambda kind: kind.name)
def test_reads_the_templates_as_a_parser_does(kind: StackKind) -> None:
    declared = load_template(kind.template.read_text())["Parameters"]

    assert parse_declared(kind.template.read_text()) == {
        name: "Default" in declaration for name, declaration in declared.items()
    }

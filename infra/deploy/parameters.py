"""Checks parameters against the template's own text, to report every problem at once.

AWS reports only the first missing one, and only after the change set has been created.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Final

from bot.errors import SettingsError

_SECTION: Final = re.compile(r"^Parameters:[^\n]*\n((?:[ #][^\n]*\n|\n)*)", re.MULTILINE)
_DECLARATION: Final = re.compile(r"^  (\w+):[^\n]*\n((?:    [^\n]*\n|[ \t]*\n)*)", re.MULTILINE)
_DEFAULT: Final = re.compile(r"^    Default:", re.MULTILINE)
# A template must have a resource; this one makes nothing.
_PLACEHOLDER: Final = "Resources:\n  Placeholder:\n    Type: AWS::CloudFormation::WaitConditionHandle\n"


def parse_declared(body: str) -> Mapping[str, bool]:
    """Map each parameter that the YAML *body* declares to whether it has a default."""
    section = _SECTION.search(body)
    found = _DECLARATION.findall(section[1]) if section else []
    return {name: bool(_DEFAULT.search(declaration)) for name, declaration in found}


def only_parameters(body: str) -> str:
    """Return a template with the parameters of the YAML *body* and nothing else to validate.

    ValidateTemplate refuses a resource type that the region lacks even if no condition makes the resource.
    """
    # https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/1825
    section = _SECTION.search(body)
    return f"{section[0]}{_PLACEHOLDER}" if section else body


def check_parameters(body: str, *, given: Collection[str], present: Collection[str]) -> None:
    """Raise SettingsError with every *given* parameter that is unknown and every missing required one.

    *present* are the parameters of the existing stack.
    """
    declared = parse_declared(body)
    if not declared:
        return
    problems = [explain_unknown(name, declared) for name in sorted(set(given) - declared.keys())]
    needed = {name for name, has_default in declared.items() if not has_default}
    missing = [name for name in declared if name in needed.difference(given, present)]
    if missing:
        problems.append(f"give {', '.join(f'--parameter {name}=…' for name in missing)}")
    if problems:
        raise SettingsError(problems)


def explain_unknown(name: str, declared: Collection[str]) -> str:
    """Say that the template has no parameter *name*, and suggest the closest one."""
    nearest = difflib.get_close_matches(name, declared, n=1)
    hint = f": did you mean {nearest[0]}?" if nearest else f"; it has {', '.join(sorted(declared))}"
    return f"the template has no parameter {name}{hint}"

"""Further permissions of a workflow's role: a JSON list of IAM statements, checked for the widest of them.

It becomes part of the template, so it may have CloudFormation's functions:
``{"Fn::Sub": "arn:${AWS::Partition}:s3:::bucket/*"}``.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bot.errors import SettingsError

Statements = Sequence[dict[str, Any]]

_KEYS: Final = frozenset({"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"})
_EXAMPLE: Final = '[{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/*"}]'


def read_policy(path: Path) -> Statements:
    """Return the statements in *path*; raises SettingsError with every problem."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{path} cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError:
        raise SettingsError([f"{path} is not text in UTF-8: save it as UTF-8"]) from None
    except ValueError as error:
        raise SettingsError([f"{path} is not JSON: {error}"]) from None
    if not isinstance(found, list) or not found:
        raise SettingsError([f"{path} must be a list of IAM statements, like {_EXAMPLE}"])
    problems = [
        f"{path}: statement {number} {problem}"
        for number, statement in enumerate(found, start=1)
        for problem in _problems(statement)
    ]
    if problems:
        raise SettingsError(problems)
    return found


def _problems(statement: Any) -> Iterator[str]:
    if not isinstance(statement, dict):
        yield f"is not an object: see {_EXAMPLE}"
        return
    if unknown := sorted(statement.keys() - _KEYS):
        yield f"has {', '.join(unknown)}, which a role's policy does not take"
    if statement.get("Effect") not in ("Allow", "Deny"):
        yield 'needs "Effect": "Allow" or "Deny"'
        return
    for key in ("Action", "Resource"):
        if key not in statement and f"Not{key}" not in statement:
            yield f"needs {key}"
    if statement["Effect"] == "Allow":
        yield from _width_problems(statement)


def _width_problems(statement: dict[str, Any]) -> Iterator[str]:
    """Yield why what is allowed is too much: anything, or all of a service."""
    for key in ("NotAction", "NotResource"):
        if key in statement:
            yield f"allows everything but {key}: name what the workflow needs instead"
    actions = _listed(statement.get("Action", []))
    if any(action in ("*", "*:*") for action in actions):
        yield "allows every action: name those that the workflow needs"
    elif any(str(action).endswith(":*") for action in actions) and "*" in _listed(statement.get("Resource")):
        yield "allows all of a service on every resource: name the actions or the resources"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

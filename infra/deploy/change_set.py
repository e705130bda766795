"""What a change set would do to a stack, parsed and rendered for review."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.text import count, escape

_HIDDEN: Final = "****"
"""CloudFormation's own mask for a NoEcho parameter."""

# CloudFormation's (Action, Replacement) of a change -> the word shown for it.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceChange.html
_KINDS: Final[Mapping[tuple[str, str], str]] = {
    ("Add", ""): "add",
    ("Import", ""): "import",
    ("Modify", ""): "change",
    ("Modify", "False"): "change",
    ("Modify", "Conditional"): "MAY REPLACE",
    ("Modify", "True"): "REPLACE",
    ("Dynamic", ""): "MAY CHANGE",
    ("Remove", ""): "REMOVE",
}
# In display order, with the words of the summary line.
_COUNTED: Final[Mapping[str, str]] = {
    "REMOVE": "to remove",
    "REPLACE": "to replace",
    "MAY REPLACE": "perhaps to replace",
    "MAY CHANGE": "perhaps to change",
    "import": "to import",
    "change": "to change",
    "add": "to add",
}
_ORDER: Final = tuple(_COUNTED)
_LOSS_VERBS: Final[Mapping[str, str]] = {
    "REMOVE": "is removed",
    "REPLACE": "is REPLACED by a new one",
    "MAY REPLACE": "may be REPLACED by a new one",
}

_LOST: Final[Mapping[str, str]] = {
    "AWS::ApiGatewayV2::Api": "its address changes, and requests to the old one fail",
    "AWS::Budgets::Budget": "its history is lost",
    "AWS::EC2::Volume": "the data on it is lost",
    "AWS::ECR::Repository": "its images are deleted",
    "AWS::EFS::FileSystem": "the data on it is lost",
    "AWS::IAM::User": "its access keys stop working",
    "AWS::Logs::LogGroup": "its logs are deleted",
    "AWS::SNS::Topic": "its subscriptions are deleted, and e-mail addresses must be confirmed again",
    "AWS::StepFunctions::StateMachine": "its executions end, and their history is lost",
}
"""What is lost along with a resource."""


@dataclass(frozen=True)
class Change:
    """One resource to add, change, replace or remove; ``kind`` is a word from the tables above."""

    kind: str
    resource_type: str
    logical_id: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class ParameterChange:
    """A parameter's value before and after; ``None`` where the parameter does not exist."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class ChangeSet:
    """A change set that is ready to execute."""

    id: str
    stack_id: str
    creates: bool
    changes: tuple[Change, ...]
    parameters: tuple[ParameterChange, ...]


def parse_changes(changes: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    """Parse CloudFormation's *changes*, destructive ones first."""
    found = [_parse_change(change["ResourceChange"]) for change in changes if "ResourceChange" in change]
    return tuple(sorted(found, key=lambda change: (_ORDER.index(change.kind), change.logical_id)))


def _parse_change(change: Mapping[str, Any]) -> Change:
    action, replacement = str(change["Action"]), str(change.get("Replacement") or "")
    kind = _KINDS.get((action, replacement)) or _KINDS.get((action, ""), "MAY CHANGE")
    targets = [detail.get("Target", {}) for detail in change.get("Details", ())]
    # A change to a property has the property's name; one to Tags, Metadata and so on has only the attribute.
    names = dict.fromkeys(str(target.get("Name") or target.get("Attribute") or "") for target in targets)
    return Change(
        kind, str(change["ResourceType"]), str(change["LogicalResourceId"]), tuple(filter(None, names))
    )


def compare_parameters(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[ParameterChange, ...]:
    """Return the parameters that differ, sorted by name."""
    return tuple(
        ParameterChange(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def render_changes(change_set: ChangeSet) -> list[str]:
    """Render a line per resource and parameter, a summary, and what would be lost for good."""
    types = [change.resource_type for change in change_set.changes]
    width = max(map(len, types), default=0)
    lines = [
        f"  {change.kind:<11}  {change.resource_type:<{width}}  {escape(change.logical_id)}"
        + (f" ({', '.join(map(escape, change.details))})" if change.details else "")
        for change in change_set.changes
    ]
    if change_set.parameters:
        lines += ["Parameters:", *_render_parameters(change_set.parameters, created=change_set.creates)]
    lines.append(_render_count(change_set.changes))
    return lines + list(_render_losses(change_set.changes))


def _render_parameters(changes: Sequence[ParameterChange], *, created: bool) -> Iterator[str]:
    for change in changes:
        after = "(removed)" if change.after is None else _render_value(change.after)
        before = "(none)" if change.before is None else _render_value(change.before)
        yield f"  {change.name}: {after}" if created else f"  {change.name}: {before} -> {after}"


def _render_value(value: str) -> str:
    return _HIDDEN if value == _HIDDEN else escape(value) or '""'


def _render_count(changes: Sequence[Change]) -> str:
    kinds = [change.kind for change in changes]
    counts = [f"{kinds.count(kind)} {words}" for kind, words in _COUNTED.items() if kind in kinds]
    return f"{count(len(kinds), 'resource')}: {', '.join(counts)}" if kinds else "No resource changes."


def _render_losses(changes: Sequence[Change]) -> Iterator[str]:
    for change in changes:
        lost = _LOST.get(change.resource_type, "")
        verb = _LOSS_VERBS.get(change.kind)
        if verb and (lost or change.kind == "REPLACE"):
            yield f"Note: {escape(change.logical_id)} {verb}{f': {lost}' if lost else ''}."

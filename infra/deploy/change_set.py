"""What a change set would do to a stack, for a person to say yes or no to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.text import count, escape

_HIDDEN: Final = "****"
"""What CloudFormation itself shows of a parameter with NoEcho."""

# (Action, Replacement) of a change as CloudFormation tells it -> what is done, as it is shown.
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
# In the order in which they are shown, each with how it is counted.
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
_ENDS: Final[Mapping[str, str]] = {
    "REMOVE": "is removed",
    "REPLACE": "is REPLACED by a new one",
    "MAY REPLACE": "may be REPLACED by a new one",
}

_LOST: Final[Mapping[str, str]] = {
    "AWS::ApiGatewayV2::Api": "its address changes, and requests to the old one fail",
    "AWS::Budgets::Budget": "its history goes",
    "AWS::EC2::Volume": "the data on it goes",
    "AWS::ECR::Repository": "its images go",
    "AWS::EFS::FileSystem": "the data on it goes",
    "AWS::IAM::User": "its access keys stop working",
    "AWS::Logs::LogGroup": "its log goes",
    "AWS::SNS::Topic": "its subscriptions go, and e-mail has to be confirmed again",
    "AWS::StepFunctions::StateMachine": "its executions end, and their history goes",
}
"""What goes with a resource, beside itself."""


@dataclass(frozen=True)
class Change:
    """One resource that is added, changed, replaced or removed; ``kind`` is one of the words above."""

    kind: str
    resource_type: str
    logical_id: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class ParameterChange:
    """``None`` stands for a parameter that is not there."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class ChangeSet:
    """A change set that can be executed."""

    id: str
    stack_id: str
    creates: bool
    changes: tuple[Change, ...]
    parameters: tuple[ParameterChange, ...]


def parse_changes(changes: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    """Return CloudFormation's own *changes*, what is lost first."""
    found = [_parse_change(change["ResourceChange"]) for change in changes if "ResourceChange" in change]
    return tuple(sorted(found, key=lambda change: (_ORDER.index(change.kind), change.logical_id)))


def _parse_change(change: Mapping[str, Any]) -> Change:
    action, replacement = str(change["Action"]), str(change.get("Replacement") or "")
    kind = _KINDS.get((action, replacement)) or _KINDS.get((action, ""), "MAY CHANGE")
    targets = [detail.get("Target", {}) for detail in change.get("Details", ())]
    # A property says more than that it is one; Tags, Metadata and so on speak for themselves.
    names = dict.fromkeys(str(target.get("Name") or target.get("Attribute") or "") for target in targets)
    return Change(
        kind, str(change["ResourceType"]), str(change["LogicalResourceId"]), tuple(filter(None, names))
    )


def compare_parameters(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[ParameterChange, ...]:
    """Return what differs, by name."""
    return tuple(
        ParameterChange(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def render_changes(change_set: ChangeSet) -> list[str]:
    """Say what would be done: a line for each resource and parameter, and what goes for good."""
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
        verb = _ENDS.get(change.kind)
        if verb and (lost or change.kind == "REPLACE"):
            yield f"Note: {escape(change.logical_id)} {verb}{f': {lost}' if lost else ''}."

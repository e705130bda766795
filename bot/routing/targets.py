"""Which workflows and destinations there are, as far as this process knows, and which rules name others.

In single-machine mode both are certain: the registry's workflows that take events, those whose definitions
are there, and the destination ``default``. Beside a stack, which workflows have stacks of their own is known
only from the settings, and so are its destinations: an unknown name is a warning there, never an error.
"""

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from bot.routing.rules import Rule, Rules, label
from bot.text import list_words
from workflow.registry import WORKFLOWS

_ROUTABLE: Final = frozenset(name for name, workflow in WORKFLOWS.items() if workflow.routable)
_OWN_STACK: Final = frozenset(name for name in _ROUTABLE if WORKFLOWS[name].own_stack)
_DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Targets:
    """What rules can name: *destinations* is ``None`` if unknown, *certain* means nothing else exists."""

    workflows: frozenset[str]
    destinations: frozenset[str] | None
    certain: bool


def known_targets(
    *, single_machine: bool, workflows: Collection[str] = (), destinations: Collection[str] = ()
) -> Targets:
    """Return what this machine has with *workflows*, or a stack with these beside it.

    Of a stack, *destinations* are what it has, as far as that is known.
    """
    if single_machine:
        return Targets(_ROUTABLE | set(workflows), frozenset({_DEFAULT}), certain=True)
    return Targets((_ROUTABLE - _OWN_STACK) | set(workflows), frozenset(destinations) or None, certain=False)


def beside_relay(rules: Rules) -> frozenset[str]:
    """Return the workflows that *rules* name and that the relay's own stack does not have."""
    named = {rule.workflow for rule in rules.rules if not rule.drop}
    return frozenset(named - (_ROUTABLE - _OWN_STACK))


def explain_workflow(name: str, targets: Targets) -> str:
    """Return what to do about the workflow *name*, which *targets* does not have."""
    known = list_words(sorted(targets.workflows))
    near = difflib.get_close_matches(name, sorted(targets.workflows | _OWN_STACK - {name}), n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    if targets.certain:
        return (
            f"there is no workflow {name}{hint}: this machine has {known}; for another, "
            f"put its definition, {name}.asl.json, into the directory VOICE_RELAY_WORKFLOWS_DIR"
        )
    if name in _OWN_STACK:
        return (
            f"the workflow {name} has a stack of its own and is not in VOICE_RELAY_WORKFLOWS: deploy it with "
            f"voice-relay deploy workflow {name}; otherwise its events wait, then become dead letters"
        )
    return (
        f"the workflow {name}{hint} is not one of {known}: deploy it with voice-relay "
        "deploy workflow, or list it in VOICE_RELAY_WORKFLOWS if it is deployed; otherwise its events wait, "
        "then become dead letters"
    )


def find_unknown(rules: Rules, targets: Targets) -> list[str]:
    """Return a sentence with a remedy for each rule that names what *targets* does not have."""
    return [
        _title(number, rule, key) + problem
        for number, rule in enumerate(rules.rules, start=1)
        for key, problem in find_missing(rule, targets)
    ]


def _title(number: int, rule: Rule, key: str) -> str:
    line = f"line {rule.lines[key]}, " if key in rule.lines else ""
    return f"{line}{label(number, rule.name)}: "


def find_missing(rule: Rule, targets: Targets) -> Iterator[tuple[str, str]]:
    """Yield each key of *rule* that names what *targets* does not have, and a sentence with a remedy."""
    if rule.drop:
        return
    if rule.workflow not in targets.workflows:
        yield "workflow", explain_workflow(rule.workflow, targets)
    # What a stack's own workflow does with a destination is its own business.
    elif rule.workflow in _ROUTABLE and WORKFLOWS[rule.workflow].posts:
        known = targets.destinations or {_DEFAULT}
        if rule.destination not in known:
            yield "destination", _explain_destination(rule.destination, targets)


def _explain_destination(name: str, targets: Targets) -> str:
    if targets.certain:
        return f"there is no destination {name}: single-machine mode has {_DEFAULT} alone"
    if targets.destinations is None:
        return (
            f"it is not known whether the stack has the destination {name}: list the stack's destinations in "
            "VOICE_RELAY_DESTINATIONS, as voice-relay deploy does"
        )
    known = list_words(sorted(targets.destinations))
    return (
        f"the stack has {known} and no destination {name} (VOICE_RELAY_DESTINATIONS): "
        f"add it with voice-relay deploy --destination {name}, or its messages are refused"
    )

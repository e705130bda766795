"""Rules that contradict themselves or each other: those that can never be met, and those that say two things.

drop                       goes nowhere, so it names nothing to go to
a condition on a type      holds for no event of the types that the rule names
a signal                   starts nothing, so it says nothing about a start; what it signals, another rule
                           starts, and both wait equally long
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bot.routing.facts import CHANGING_TYPES, FACTS, SIDES, TYPES
from bot.routing.parameters import Problem
from bot.routing.rules import Rule, label
from bot.text import list_words

_TO: Final = ("workflow", "destination", "debounce_s", "batch_max_events", "parameters", "signal")
_OF_A_START: Final = ("destination", "batch_max_events", "parameters")
_NEVER: Final = {
    "changed": "no flag changes in {}",
    "entering": "no channel is entered in {}",
    "leaving": "no channel is left in {}",
}


def find_contradictions(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what contradicts itself in the *values* of one rule, by their keys in the file."""
    if values.get("drop"):
        for key in (*_TO, "continue"):
            if values.get(key, False) is not False:
                yield Problem((key,), f"{key} contradicts drop = true: remove one of them")
    elif "signal" in values:
        yield from _find_start(values)
    yield from _find_unmeetable(values)


def _find_start(values: Mapping[str, Any]) -> Iterator[Problem]:
    for key in _OF_A_START:
        if key in values:
            text = f"{key} is for a rule that starts an execution, and signal starts none: remove one of them"
            yield Problem((key,), text)


def _find_unmeetable(values: Mapping[str, Any]) -> Iterator[Problem]:
    types: frozenset[str] = values.get("types", frozenset())
    if "gap_min_s" in values and types and "gap" not in types:
        yield Problem(("gap_min_s",), "gap_min_s is about gaps: add gap to types, or remove gap_min_s")
    if wrong := list(_find_wrong_types(values, types)):
        yield from wrong
    elif "gap" in types and (personal := [key for key in (*FACTS, "signal") if key in values]):
        text = f"a gap never meets {list_words(personal)}: remove it from types and write a rule for it"
        yield Problem(("types",), text)
    both = [values[key] for key in ("entering", "leaving") if key in values]
    if len(both) > 1 and len(frozenset().union(*both)) == 1:
        yield Problem(("leaving",), "no move enters and leaves the same channel: remove leaving or entering")


def _find_wrong_types(values: Mapping[str, Any], types: frozenset[str]) -> Iterator[Problem]:
    """Yield each condition that some of the rule's *types* never meet."""
    for key, able in {"changed": CHANGING_TYPES, **SIDES}.items():
        never = [type_ for type_ in TYPES if type_ in types - able]
        if key in values and never:
            them = "it" if len(never) == 1 else "them"
            said = _NEVER[key].format(list_words(never))
            yield Problem((key,), f"{said}: remove {them} from types, or remove {key}")


def find_conflicts(rules: Sequence[Rule]) -> Iterator[tuple[int, Problem]]:
    """Yield what contradicts another rule, with the place of the rule that says so.

    A signal that waits for a shorter or longer time than the start does would meet it halfway: a person who
    leaves and comes back would be withdrawn and not started again, or started twice.
    """
    for index, rule in enumerate(rules):
        if rule.drop or rule.signal is None:
            continue
        starts = [
            (number, other)
            for number, other in enumerate(rules, start=1)
            if other.workflow == rule.workflow and other.signal is None and not other.drop
        ]
        if not starts:
            text = f"no rule starts {rule.workflow}: write one, or remove the rule with signal"
            yield index, Problem(("signal",), text)
        for number, other in starts:
            if other.debounce_s != rule.debounce_s:
                text = (
                    f"{label(number, other.name)} starts {rule.workflow} with debounce_s = "
                    f"{other.debounce_s:g}, and this rule signals it with {rule.debounce_s:g}: "
                    "give both the same"
                )
                yield index, Problem(("debounce_s",), text)
                break

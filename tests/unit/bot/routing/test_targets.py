"""Rules that name a workflow or a destination that is not there."""

import pytest

from bot.routing.rules import DEFAULT_RULES, Rule, Rules
from bot.routing.targets import Targets, find_unknown, known_targets
from workflow.registry import WORKFLOWS

SINGLE_MACHINE = known_targets(single_machine=True, workflows=["audit"], destinations=["mods"])
STACK = known_targets(single_machine=False)
TOLD = known_targets(single_machine=False, workflows=["audit"], destinations=["default", "mods"])


def listed(*more: str, own_stacks: bool) -> str:
    """The workflows that a rule may name, and *more*, as a sentence lists them."""
    known = {name for name, each in WORKFLOWS.items() if each.routable and (own_stacks or not each.own_stack)}
    *others, last = sorted({*more, *known})
    return f"{', '.join(others)} and {last}"


SENTENCES = {
    "workflow, one machine": (
        Rule(workflow="stats"),
        SINGLE_MACHINE,
        (
            "rule 1: there is no workflow stats: this machine has "
            f"{listed('audit', own_stacks=True)}; for another, put its definition, stats.asl.json, into the "
            "directory VOICE_RELAY_WORKFLOWS_DIR"
        ),
    ),
    "slip, one machine": (
        Rule(name="all", workflow="notfy"),
        SINGLE_MACHINE,
        (
            "rule 1 (all): there is no workflow notfy (did you mean notify?): this machine has "
            f"{listed('audit', own_stacks=True)}; for another, put its definition, notfy.asl.json, into the "
            "directory VOICE_RELAY_WORKFLOWS_DIR"
        ),
    ),
    "workflow, stack": (
        Rule(workflow="stats"),
        TOLD,
        (
            f"rule 1: the workflow stats is not one of {listed('audit', own_stacks=False)}: deploy it with "
            "voice-relay deploy workflow, or list it in VOICE_RELAY_WORKFLOWS if it is deployed; otherwise "
            "its events wait, then become dead letters"
        ),
    ),
    "bundled workflow, stack": (
        Rule(workflow="admit"),
        TOLD,
        (
            "rule 1: the workflow admit has a stack of its own and is not in VOICE_RELAY_WORKFLOWS: deploy "
            "it with voice-relay deploy workflow admit; otherwise its events wait, then become dead letters"
        ),
    ),
    "destination, one machine": (
        Rule(destination="mods"),
        SINGLE_MACHINE,
        ("rule 1: there is no destination mods: single-machine mode has default alone"),
    ),
    "destination, stack": (
        Rule(workflow="digest", destination="raid"),
        TOLD,
        (
            "rule 1: the stack has default and mods and no destination raid "
            "(VOICE_RELAY_DESTINATIONS): add it with voice-relay deploy --destination raid, or its "
            "messages are refused"
        ),
    ),
    "destination, untold": (
        Rule(destination="mods"),
        STACK,
        (
            "rule 1: it is not known whether the stack has the destination mods: list the stack's "
            "destinations in VOICE_RELAY_DESTINATIONS, as voice-relay deploy does"
        ),
    ),
}


@pytest.mark.parametrize(("rule", "targets", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_unknown_name_is_explained(rule: Rule, targets: Targets, sentence: str) -> None:
    assert find_unknown(Rules([rule]), targets) == [sentence]


@pytest.mark.parametrize(
    ("rule", "targets"),
    [
        (Rule(), SINGLE_MACHINE),
        (Rule(workflow="digest"), SINGLE_MACHINE),
        (Rule(), STACK),
        (Rule(destination="mods"), TOLD),
        (Rule(workflow="audit"), TOLD),
        (Rule(workflow="audit", destination="its own"), TOLD),
        (Rule(drop=True), SINGLE_MACHINE),
    ],
)
def test_known_names_pass(rule: Rule, targets: Targets) -> None:
    """A stack's own workflow takes whatever destination it likes, and a rule that drops names none."""
    assert find_unknown(Rules([rule]), targets) == []


@pytest.mark.parametrize("name", sorted(name for name in WORKFLOWS if not WORKFLOWS[name].routable))
def test_rule_names_no_heartbeat(name: str) -> None:
    assert len(find_unknown(Rules([Rule(workflow=name)]), SINGLE_MACHINE)) == 1
    assert len(find_unknown(Rules([Rule(workflow=name)]), STACK)) == 1


def test_default_destination_can_be_missing() -> None:
    mods_only = known_targets(single_machine=False, destinations=["mods"])

    assert len(find_unknown(DEFAULT_RULES, mods_only)) == 1


def test_each_rule_is_numbered() -> None:
    rules = Rules([Rule(), Rule(name="raid", destination="raid"), Rule(workflow="x", destination="y")])

    found = find_unknown(rules, SINGLE_MACHINE)

    assert [problem.partition(":")[0] for problem in found] == ["rule 2 (raid)", "rule 3"]

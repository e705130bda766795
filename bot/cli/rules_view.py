"""What the routing rules say of an event: a line for each rule, and where the event goes in the end."""

from collections.abc import Iterator, Sequence
from typing import Final

from bot.routing.facts import FACTS, PREFIX, SIDES, TYPES, Surroundings
from bot.routing.rules import NO_PARAMETERS, Route, Rule, Rules, Verdict, label
from bot.voice.events import Event

_PARAMETERS_SHOWN_MAX: Final = 300
_NONE: Final = {
    "channels": "none",
    "entering": "none",
    "leaving": "none",
    "categories": "none known; give one with --category",
    "roles": "none known; give one with --role",
    "bot": "not known",
    "changed": "none",
}


def render_title(event: Event) -> str:
    title = f"{event['type']} in guild {event['data']['guild']['id']}"
    if event["type"] == "discord.voice.gap":
        return title
    return f"{title}, user {event['data']['user']['id']}"


def render_verdicts(
    rules: Rules, verdicts: Sequence[Verdict], event: Event, around: Surroundings
) -> Iterator[str]:
    labels = [label(number, rule.name) for number, rule in enumerate(rules.rules, start=1)]
    width = max(map(len, labels))
    for verdict in verdicts:
        said = (
            "no: " + _explain(verdict.unmet, event, around) if verdict.unmet else _render_rule(verdict.rule)
        )
        yield f"  {labels[verdict.number - 1]:{width}}  {said}"
    for text in labels[len(verdicts) :]:
        yield f"  {text:{width}}  not reached"


def _explain(condition: str, event: Event, around: Surroundings) -> str:
    """Return which *condition* the event does not meet, and what it has instead."""
    type_ = event["type"].removeprefix(PREFIX)
    if condition == "types":
        return f"types (here: {type_})"
    if condition == "guilds":
        return f"guilds (here: {event['data']['guild']['id']})"
    if event["type"] == "discord.voice.gap":
        return f"{condition} (a gap has none)"
    has_side = type_ in SIDES.get(condition, TYPES)
    values = FACTS[condition](event["data"], around) if has_side else ()
    found = [str(value) for value in values if value is not None]
    # In lower case, true and false look as in the file.
    return f"{condition} (here: {', '.join(found).lower() or _NONE[condition]})"


def _render_rule(rule: Rule) -> str:
    if rule.drop:
        return "yes: dropped"
    route = rule.routes[0]
    said = f"yes: workflow {route.workflow}, "
    said += f"signal {route.signal}" if route.signal else f"destination {route.destination}"
    if route.debounce_s:
        said += f", debounced for {route.debounce_s:g} s"
    if route.batch_max_events is not None:
        said += f", up to {route.batch_max_events} events at once"
    if route.parameters != NO_PARAMETERS:
        said += f", parameters {_shorten(route.parameters)}"
    return said + (", then continues" if rule.continues else "")


def _name(route: Route) -> str:
    if route.signal is not None:
        return f"{route.workflow} as the signal {route.signal}"
    return f"{route.workflow}/{route.destination}"


def _shorten(text: str) -> str:
    return text if len(text) <= _PARAMETERS_SHOWN_MAX else text[:_PARAMETERS_SHOWN_MAX] + "…"


def render_end(routes: Sequence[Route], met: Sequence[Verdict]) -> str:
    if routes:
        return "It goes to " + ", ".join(map(_name, routes)) + "."
    return f"It goes nowhere: {met[-1].label} drops it." if met else "It goes nowhere: no rule matches."


def render_rule_for(workflow: str) -> list[str]:
    """Return a rule, indented, that starts an execution of *workflow* for each person who joins."""
    return [
        "    [[rule]]",
        '    types = ["joined"]',
        f'    workflow = "{workflow}"',
        "    batch_max_events = 1   # an execution for each event; without it, events come in batches",
    ]

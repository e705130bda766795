"""``voice-relay rules check``: whether a file of rules is fine, and what its rules say of an example event.

What an event does not say of itself, its person's roles and its channels' categories, is given beside it.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import pydantic

from bot.errors import SettingsError
from bot.routing.rules import (
    DEFAULT_RULES,
    FACTS,
    PREFIX,
    Route,
    Rule,
    Rules,
    Surroundings,
    Verdict,
    label,
)
from bot.routing.rules_file import read_rules
from bot.voice.events import EVENT, Event

_STANDARD_INPUT: Final = "-"
_NONE: Final = {
    "channels": "none",
    "categories": "none known; give one with --category",
    "roles": "none known; give one with --role",
    "bot": "not known",
    "changed": "none",
}


@dataclass(frozen=True, slots=True)
class Example:
    """An event in a file, ``-`` for the standard input, and what it does not say itself.

    One category is that of every channel of the event; of two, the first is that of the channel that a
    person moved to, the second of the one that they came from.
    """

    file: str
    role_ids: Sequence[str] = ()
    category_ids: Sequence[str] = ()
    afk: bool = False


class Report(NamedTuple):
    """What to print, and whether the example, if there was one, met any rule."""

    lines: list[str]
    met: bool


def check_rules(path: Path | None, example: Example | None) -> Report:
    """Check the rules in *path*, the built-in ones if ``None``, and ask them about *example*.

    SettingsError names everything that is wrong with the file, or with the event.
    """
    rules = DEFAULT_RULES if path is None else read_rules(path)
    count = "1 rule" if len(rules.rules) == 1 else f"{len(rules.rules)} rules"
    lines = ["the built-in rules" if path is None else f"{path}: {count}, fine"]
    if example is None:
        return Report(lines, met=True)
    event = _read_event(example.file)
    around = _surroundings(event, example)
    verdicts = rules.explain(event, around)
    lines += [_title(event), *_render_verdicts(rules, verdicts, event, around)]
    decisive = [verdict for verdict in verdicts if verdict.unmet is None]
    lines.append(_render_end(rules.route(event, around), decisive))
    return Report(lines, met=bool(decisive))


def _read_event(file: str) -> Event:
    name = "the standard input" if file == _STANDARD_INPUT else file
    try:
        content = sys.stdin.buffer.read() if file == _STANDARD_INPUT else Path(file).read_bytes()
    except OSError as error:
        raise SettingsError([f"{name} cannot be read ({error.strerror}): check the path"]) from error
    try:
        return EVENT.validate_json(content)
    except pydantic.ValidationError as error:
        raise SettingsError(
            [
                f"{name} is not an event: {_place(problem['loc'])}{problem['msg']}"
                for problem in error.errors(include_input=False, include_url=False)
            ]
        ) from None


def _place(loc: tuple[int | str, ...]) -> str:
    """Return where in an event a problem is; *loc* begins with the event's type, if that is known."""
    path = ".".join(map(str, loc[1:]))
    return f"{path}: " if path else ""


def _surroundings(event: Event, example: Example) -> Surroundings:
    if event["type"] == "discord.voice.gap":
        given: Sequence[object] = (*example.role_ids, *example.category_ids, *[True] * example.afk)
        if given:
            raise SettingsError(
                ["a gap has neither person nor channel: leave out --role, --category and --afk"]
            )
        return Surroundings()
    data = event["data"]
    channel_ids = [channel["id"] for channel in (data["channel"], data["previous_channel"]) if channel]
    categories = list(example.category_ids)
    if len(categories) == 1:
        categories *= len(channel_ids)
    if len(categories) > len(channel_ids) or (example.afk and not channel_ids):
        raise SettingsError(["--category and --afk: the event does not have so many channels"])
    return Surroundings(
        roles={data["user"]["id"]: frozenset(example.role_ids)},
        categories=dict(zip(channel_ids, categories, strict=False)),
        afk_channel_id=channel_ids[0] if example.afk else None,
    )


def _title(event: Event) -> str:
    title = f"{event['type']} in guild {event['data']['guild']['id']}"
    if event["type"] == "discord.voice.gap":
        return title
    return f"{title}, user {event['data']['user']['id']}"


def _render_verdicts(
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
        yield f"  {text:{width}}  not asked"


def _explain(condition: str, event: Event, around: Surroundings) -> str:
    """Return how *event* fails to meet *condition*."""
    if condition == "types":
        return f"types (here: {event['type'].removeprefix(PREFIX)})"
    if condition == "guilds":
        return f"guilds (here: {event['data']['guild']['id']})"
    if event["type"] == "discord.voice.gap":
        return f"{condition} (a gap has none)"
    so = [str(value) for value in FACTS[condition](event["data"], around) if value is not None]
    # True and False are written as in the file.
    return f"{condition} (here: {', '.join(so).lower() or _NONE[condition]})"


def _render_rule(rule: Rule) -> str:
    if rule.drop:
        return "yes: dropped"
    route = rule.routes[0]
    said = f"yes: workflow {route.workflow}, destination {route.destination}"
    if route.debounce_s:
        said += f", debounced for {route.debounce_s:g} s"
    if route.batch_max_events is not None:
        said += f", up to {route.batch_max_events} events at once"
    return said + (", and on" if rule.continues else "")


def _render_end(routes: Sequence[Route], met: Sequence[Verdict]) -> str:
    if routes:
        return "It goes to " + ", ".join(f"{route.workflow}/{route.destination}" for route in routes) + "."
    return f"It goes nowhere: {met[-1].label} drops it." if met else "It goes nowhere: it meets no rule."

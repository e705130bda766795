"""``voice-relay rules check``: checks a rules file, and shows which of its rules an example event meets.

An event does not carry its person's roles or its channels' categories, so these are given beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pydantic

from bot.cli.parser import Arguments, CommandParser, snowflake
from bot.cli.rules_view import render_end, render_title, render_verdicts
from bot.console import EXIT_DONE, EXIT_FAILED, Console
from bot.errors import SettingsError
from bot.model_errors import explain_model_error
from bot.routing.facts import Surroundings
from bot.routing.rules import DEFAULT_RULES, Rules
from bot.routing.rules_file import read_rules
from bot.routing.targets import Targets, beside_relay, find_unknown, known_targets
from bot.routing.untaken import find_untaken
from bot.settings.definitions import find_definitions
from bot.settings.needed_actions import find_missing_actions
from bot.settings.settings import RulesSettings, load_rules_settings
from bot.text import count
from bot.voice.events import EVENT, Event

_STANDARD_INPUT: Final = "-"


@dataclass(frozen=True, slots=True)
class Example:
    """An event in a file, ``-`` for the standard input, and what the event does not say itself.

    A single category is that of all the event's channels; of two, the first is that of the channel moved to,
    the second that of the channel left.
    """

    file: str
    role_ids: tuple[str, ...] = ()
    category_ids: tuple[str, ...] = ()
    afk: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """``file`` defaults to the file of the settings, or the built-in rules."""

    file: Path | None = None
    example: Example | None = None


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Check a rules file; with --event, show which of its rules an example event meets."
    parser.epilog = (
        "Exit codes: 0 the file is valid, and a rule decides where the event goes or drops it; 1 no rule "
        "matches the event; 2 the file, the event or a setting is wrong, or a rule names "
        "what single-machine mode does not have."
    )
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="default: VOICE_RELAY_RULES_FILE, or the built-in rules",
    )
    parser.add_argument(
        "--event", metavar="FILE", help="one of the relay's CloudEvents as JSON; - reads a pipe"
    )
    parser.add_argument(
        "--role", action="append", default=[], type=snowflake, metavar="ID", help="of the person; repeatable"
    )
    parser.add_argument(
        "--category",
        action="append",
        default=[],
        type=snowflake,
        metavar="ID",
        help="the channel's category; for a move, give it twice: new channel, then old",
    )
    parser.add_argument("--afk", action="store_true", help="the event's channel is the guild's AFK channel")


def read_options(arguments: Arguments) -> Options:
    if arguments.event is not None:
        example = Example(
            arguments.event, tuple(arguments.role), tuple(arguments.category), afk=arguments.afk
        )
        return Options(arguments.file, example)
    if arguments.role or arguments.category or arguments.afk:
        raise SettingsError(["--role, --category and --afk describe an event: give one with --event"])
    return Options(arguments.file)


def run(options: Options, console: Console) -> int:
    settings = _load_settings(options, console)
    path = options.file or (None if settings is None else settings.rules_file)
    targets = None if settings is None else _known_targets(settings)
    rules = DEFAULT_RULES if path is None else read_rules(path, targets)
    name = "the built-in rules:" if path is None else path
    doubts = [] if targets is None else [f"{name} {text}" for text in find_unknown(rules, targets)]
    doubts += [] if settings is None else _find_missing_actions(rules, settings)
    checked = "the built-in rules" if path is None else f"{path}: {count(len(rules.rules), 'rule')}, valid"
    if options.example is None:
        console.say(checked)
        console.hint(*doubts, *(f"{path}: {text}" for text in find_untaken(rules)))
        return EXIT_DONE
    # Read before anything is printed, so that a file that is no event leaves no half of an answer.
    event = _read_event(options.example.file, console)
    around = _read_surroundings(event, options.example)
    console.say(checked)
    console.hint(*doubts)
    return _explain(rules, event, around, console)


def _load_settings(options: Options, console: Console) -> RulesSettings | None:
    """Load the settings that say which names exist; a named file can be checked without them."""
    try:
        return load_rules_settings()
    except SettingsError as error:
        if options.file is None:
            remedy = "or name the file: voice-relay rules check FILE"
            raise SettingsError([*error.problems, remedy]) from None
        console.hint(*error.problems, "so the names of workflows and destinations are not checked")
        return None


def _known_targets(settings: RulesSettings) -> Targets:
    return known_targets(
        single_machine=settings.single_machine,
        workflows=find_definitions(settings.workflows_dir) if settings.single_machine else settings.workflows,
        destinations=settings.destinations,
    )


def _find_missing_actions(rules: Rules, settings: RulesSettings) -> list[str]:
    own = find_definitions(settings.workflows_dir) if settings.single_machine else {}
    return find_missing_actions(beside_relay(rules), own, settings.actions)


def _explain(rules: Rules, event: Event, around: Surroundings, console: Console) -> int:
    verdicts = rules.explain(event, around)
    decisive = [verdict for verdict in verdicts if verdict.unmet is None]
    console.say(
        render_title(event),
        *render_verdicts(rules, verdicts, event, around),
        render_end(rules.route(event, around), decisive),
    )
    return EXIT_DONE if decisive else EXIT_FAILED


def _read_event(file: str, console: Console) -> Event:
    name = "the standard input" if file == _STANDARD_INPUT else file
    try:
        content = console.read_bytes() if file == _STANDARD_INPUT else Path(file).read_bytes()
    except OSError as error:
        raise SettingsError([f"{name} cannot be read ({error.strerror}): check the path"]) from error
    try:
        return EVENT.validate_json(content)
    except pydantic.ValidationError as error:
        raise SettingsError(
            [
                f"{name} is not an event: {_place(problem['loc'])} {explain_model_error(problem)}"
                for problem in error.errors(include_input=False, include_url=False)
            ]
        ) from None


def _place(loc: tuple[int | str, ...]) -> str:
    """Return where in the event the problem is; *loc* begins with the event's type if that is known."""
    return ".".join(map(str, loc[1:])) or "it"


def _read_surroundings(event: Event, example: Example) -> Surroundings:
    if event["type"] == "discord.voice.gap":
        given: Sequence[object] = (*example.role_ids, *example.category_ids, *[True] * example.afk)
        if given:
            raise SettingsError(
                ["a gap has no person and no channel: leave out --role, --category and --afk"]
            )
        return Surroundings()
    data = event["data"]
    channel_ids = [channel["id"] for channel in (data["channel"], data["previous_channel"]) if channel]
    categories = list(example.category_ids)
    if len(categories) == 1:
        categories *= len(channel_ids)
    if len(categories) > len(channel_ids) or (example.afk and not channel_ids):
        raise SettingsError(["--category and --afk: the event has fewer channels than that"])
    return Surroundings(
        roles={data["user"]["id"]: frozenset(example.role_ids)},
        categories=dict(zip(channel_ids, categories, strict=False)),
        afk_channel_id=channel_ids[0] if example.afk else None,
    )

"""The rules file: TOML, read and checked whole; each problem is reported with its line.

    [[rule]]                                    # in this order; the first that an event meets decides
    name = "ignore bots"                        # shown in messages and in the debug log
    bot = true                                  # conditions: all of them must hold
    drop = true                                 # the event goes nowhere

    [[rule]]
    types = ["updated", "moved"]                # joined, left, moved, updated, gap
    changed = ["self_stream", "self_video"]     # any of these flags changed, on or off
    workflow = "notify"                         # "notify" where absent
    destination = "streams"                     # "default" where absent
    continue = true                             # the rules below see the event too

    [[rule]]
    guilds = ["41771983423143937"]              # ids are in quotes; any one of a list will do
    channels = ["127121515262115840"]           # either side of a move; so for categories
    entering = ["127121515262115840"]           # joined, or moved into; a rule has no use for all three
    leaving = ["127121515262115843"]            # left, or moved out of
    categories = ["127121515262115841"]
    users = ["80351110224678912"]
    roles = ["127121515262115842"]              # where Discord sent the person's roles with the event
    afk = false                                 # whether a channel of the event is the guild's AFK channel
    gap_min_s = 10                              # no shorter gap, unless something changed in it; 0 to 3600
    debounce_s = 5                              # how long to hold a join or leave back; 0 to 3600
    batch_max_events = 20                       # 1 to 1000; else BATCH_MAX_EVENTS, else the workflow's

    [[rule]]
    workflow = "audit"
    [rule.parameters]                           # into the input of the workflow's executions, as JSON
    limit = 5                                   # which there are, the workflow says; no dates; up to 4 KiB

    [[rule]]
    leaving = ["127121515262115840"]
    workflow = "audit"
    signal = "withdraw"                         # goes to the execution last started for the person

Rules that contradict themselves or each other are refused too: ``contradictions`` finds them.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from bot.errors import SettingsError
from bot.routing.contradictions import find_conflicts, find_contradictions
from bot.routing.facts import TYPES
from bot.routing.parameters import KEY, Problem, check_parameters, find_unfit
from bot.routing.rules import SIGNAL_MAX_CHARS, Rule, Rules, label
from bot.routing.targets import Targets, find_missing
from bot.routing.toml_lines import Path as Place
from bot.routing.toml_lines import find_lines
from bot.small_file import read_small
from bot.text import list_words
from bot.voice.occupancy import FLAGS

RULES_MAX_BYTES: Final = 1 << 18
"""Room for more than ten thousand ids."""
_DOTS_MAX: Final = 64
"""The parts of a key take tomllib quadratic time; no key of a rule has a dot."""
_SHOWN_MAX: Final = 20
_VARIABLE: Final = "VOICE_RELAY_RULES_FILE: "
_ID: Final = re.compile(r"[0-9]{1,20}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_SYNTAX_ERROR: Final = re.compile(r"(?P<what>.*) \(at (?:(?P<where>line \d+, column \d+)|end of document)\)")
_LABEL_MAX: Final = 64
_DEBOUNCE_MAX_S: Final = 3600
_GAP_MIN_MAX_S: Final = 3600
_BATCH_MAX: Final = 1000
_RENAMED: Final = {"settle_s": "debounce_s"}


def load_rules(path: Path, targets: Targets | None = None) -> Rules:
    """Read the rules in *path*, the file of the setting; SettingsError names everything that is wrong."""
    try:
        return read_rules(path, targets)
    except SettingsError as error:
        raise SettingsError([_VARIABLE + problem for problem in error.problems]) from error


def read_rules(path: Path, targets: Targets | None = None) -> Rules:
    """Read the rules in *path*; each problem of the SettingsError begins with the path.

    Where the names in *targets* are certain, any other is a problem too.
    """
    try:
        # Some editors write a byte order mark, which TOML does not allow.
        text = read_small(path, RULES_MAX_BYTES).decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise SettingsError([f"{path} cannot be read ({error.strerror}): check the path"]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path} is not UTF-8 text: save it as UTF-8"]) from error
    return parse_rules(text, str(path), targets)


def parse_rules(text: str, file: str, targets: Targets | None = None) -> Rules:
    """Read the rules in *text*; each problem of the SettingsError begins with *file*."""
    _check_keys(text, file)
    try:
        document = tomllib.loads(text)
        lines = find_lines(text)
    except ValueError as error:
        raise SettingsError([_explain_syntax(file, error)]) from error
    except RecursionError as error:
        raise SettingsError([f"{file} is not valid TOML: brackets are nested too deep"]) from error
    rules: list[Rule] = []
    problems = [(lines.get(place, 0), "", text) for place, text in _check_document(document)]
    for index, table in enumerate(_tables(document)):
        values, found = _read_rule(table)
        rule = _build_rule(values, lines, index)
        if targets is not None and targets.certain:
            found += (Problem((key,), text) for key, text in find_missing(rule, targets))
        rules.append(rule)
        problems += _place(lines, index, rule, found)
    for index, problem in find_conflicts(rules):
        problems += _place(lines, index, rules[index], [problem])
    if problems:
        all_problems = sorted(set(problems))
        shown = [
            f"{file} line {line}{title}: {text}" if line else f"{file}: {text}"
            for line, title, text in all_problems[:_SHOWN_MAX]
        ]
        more = (
            [f"{file} has {len(all_problems) - _SHOWN_MAX} more problems"]
            if len(all_problems) > _SHOWN_MAX
            else []
        )
        raise SettingsError([*shown, *more])
    return Rules(rules)


def _place(
    lines: Mapping[Place, int], index: int, rule: Rule, problems: Iterable[Problem]
) -> Iterator[tuple[int, str, str]]:
    """Return each of the rule's *problems* with its line and with what messages call the rule."""
    title = ", " + label(index + 1, rule.name)
    return ((_find_line(lines, ("rule", index, *place)), title, text) for place, text in problems)


def _find_line(lines: Mapping[Place, int], place: Place) -> int:
    """Return the line of *place*; for what is not written, that of what it would stand in."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 0)


def _check_keys(text: str, file: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.partition("#")[0].count(".") > _DOTS_MAX:
            raise SettingsError(
                [f"{file} line {number}: more than {_DOTS_MAX} dots: a key of a rule has none"]
            )


def _explain_syntax(file: str, error: ValueError) -> str:
    match = _SYNTAX_ERROR.fullmatch(str(error))
    if match is None:
        return f"{file} is not valid TOML: {error}"
    return f"{file} {match['where'] or 'at the end'}: not valid TOML: {match['what']}"


def _tables(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    rules = document.get("rule")
    return [rule if isinstance(rule, dict) else {} for rule in rules] if isinstance(rules, list) else []


def _check_document(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong outside the rules."""
    for key in document:
        if key != "rule":
            near = difflib.get_close_matches(key, ["rule"])
            remedy = "did you mean [[rule]]?" if near else "only [[rule]] is known here"
            yield Problem((key,), f"unknown key {_show(key)}: {remedy}")
    rules = document.get("rule")
    if rules is not None and not isinstance(rules, list):
        yield Problem(("rule",), "a rule begins with [[rule]], in double brackets")
    elif not rules:
        # Every event would be dropped silently.
        yield Problem(("rule",), "there is no [[rule]]: unset VOICE_RELAY_RULES_FILE for the built-in rules")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        if not isinstance(rule, dict):
            yield Problem(("rule", index), "a rule is a table of keys and values: begin it with [[rule]]")


def _read_rule(table: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the values of a rule that can be used, and what is wrong with the others or between them."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in table.items():
        check = _CHECKS.get(key)
        if check is None:
            problems.append(Problem((key,), f"unknown key {_show(key)}: {_explain_key(key)}"))
            continue
        found = [Problem((key, *place), f"{key} {text}") for place, text in check(value)]
        problems += found
        if not found:
            values[key] = frozenset(value) if isinstance(value, list) else value
    problems += find_contradictions(values)
    if table.keys() & {"workflow", "signal", KEY} <= values.keys() and not values.get("drop"):
        problems += find_unfit(values.get("workflow", "notify"), values)
    return values, problems


def _explain_key(key: str) -> str:
    if key in _RENAMED:
        return f"it is now called {_RENAMED[key]}"
    return _nearest(key, _CHECKS) or f"a rule has {', '.join(_CHECKS)}"


def _build_rule(values: Mapping[str, Any], lines: Mapping[Place, int], index: int) -> Rule:
    fields = {"continues" if key == "continue" else key: value for key, value in values.items()}
    if KEY in fields:
        fields[KEY] = orjson.dumps(fields[KEY]).decode()
    where = {key: _find_line(lines, ("rule", index, key)) for key in ("workflow", "destination")}
    return Rule(**fields, lines=where)


_Check = Callable[[Any], Iterator[Problem]]
"""Yields what is wrong with a value: each place is a path in it, each text continues from the key.

No text repeats the value, which may be a misplaced secret: a webhook's URL makes a plausible destination.
"""


def _check(wanted: str, is_fine: Callable[[Any], bool]) -> _Check:
    def check(value: Any) -> Iterator[Problem]:
        if not is_fine(value):
            yield Problem((), wanted)

    return check


def _check_list(of: str, explain: Callable[[Any], str | None]) -> _Check:
    def check(value: Any) -> Iterator[Problem]:
        if not isinstance(value, list):
            yield Problem((), f"must be a list of {of}, in square brackets")
        elif not value:
            yield Problem(
                (), "must not be an empty list, which nothing meets: remove it to have no such condition"
            )
        else:
            for index, item in enumerate(value):
                if text := explain(item):
                    yield Problem((index,), text)

    return check


def _check_ids(like: str) -> _Check:
    def explain(item: Any) -> str | None:
        if isinstance(item, str) and _ID.fullmatch(item):
            return None
        return f'holds an invalid id: ids are digits in quotes, like "{like}"'

    return _check_list("ids", explain)


def _check_words(words: tuple[str, ...]) -> _Check:
    def explain(item: Any) -> str | None:
        if item in words:
            return None
        remedy = isinstance(item, str) and _nearest(item, words)
        return f"may hold only {list_words(words)}" + (f": {remedy}" if remedy else "")

    return _check_list("words in quotes", explain)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_signal(value: Any) -> bool:
    return _is_name(value) and len(value) <= SIGNAL_MAX_CHARS


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LABEL_MAX and value.isprintable()


def _is_debounce(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _DEBOUNCE_MAX_S


def _is_gap_min(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _GAP_MIN_MAX_S


def _is_batch_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _BATCH_MAX


_CHECKS: Final[Mapping[str, _Check]] = {
    "name": _check(f"must be a text of 1 to {_LABEL_MAX} printable characters", _is_label),
    "types": _check_words(TYPES),
    "guilds": _check_ids("41771983423143937"),
    "channels": _check_ids("127121515262115840"),
    "entering": _check_ids("127121515262115840"),
    "leaving": _check_ids("127121515262115840"),
    "categories": _check_ids("127121515262115841"),
    "users": _check_ids("80351110224678912"),
    "roles": _check_ids("127121515262115842"),
    "bot": _check("must be true or false", _is_bool),
    "afk": _check("must be true or false", _is_bool),
    "changed": _check_words(FLAGS),
    "gap_min_s": _check(f"must be a number of seconds from 0 to {_GAP_MIN_MAX_S}", _is_gap_min),
    "signal": _check(f"must be 1 to {SIGNAL_MAX_CHARS} letters, digits, - and _, in quotes", _is_signal),
    "workflow": _check("must be 1 to 64 letters, digits, - and _, in quotes", _is_name),
    "destination": _check("must be 1 to 64 letters, digits, - and _, in quotes", _is_name),
    "debounce_s": _check(f"must be a number of seconds from 0 to {_DEBOUNCE_MAX_S}", _is_debounce),
    "batch_max_events": _check(f"must be a whole number from 1 to {_BATCH_MAX}", _is_batch_size),
    KEY: check_parameters,
    "drop": _check("must be true or false", _is_bool),
    "continue": _check("must be true or false", _is_bool),
}


def _nearest(word: str, words: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"did you mean {near[0]}?" if near else None


def _show(key: str) -> str:
    return key if _KEY.fullmatch(key) else "with odd characters"

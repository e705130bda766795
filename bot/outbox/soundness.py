"""Whether a file is an outbox that may be used: its schema is the relay's own, and its rows can be read.

The version number in a file proves nothing: another program's file has one too, and a file from elsewhere may
have triggers that run at the first write. So the schema is compared, apart from white space and comments,
with the one that the schema files give. After that STRICT keeps the types, and what remains is the values:

    ids and names      go into URLs, headers and execution names
    times              become dates, which end with the year 9999
    JSON               is read again, or sent as it stands
    references         a lane that does not exist, a batch without events

Rows that grow with the backlog are read only in a file that is checked whole anyway.
"""

# https://sqlite.org/security.html

import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.resources.abc import Traversable
from typing import Final, get_args

from bot.routing.facts import Key
from bot.routing.rules import PARAMETERS_MAX_BYTES, SIGNAL_MAX_CHARS
from bot.voice.events import ChannelKind, GapReason, VoiceEventType
from bot.voice.occupancy import FLAGS

VALUE_MAX_BYTES: Final = 64 << 20
"""No value of the relay's own comes near, and SQLite refuses a longer one instead of reading it."""

READ_ERRORS: Final = (ValueError, TypeError, LookupError, AttributeError)
"""What a row makes its reader raise that is not as the relay writes it."""

_TIME_MAX_MS: Final = 253_402_300_799_999
_BODY_MAX_BYTES: Final = 1 << 20
_ARN_MAX_BYTES: Final = 4096

_COMMENT: Final = re.compile(r"--[^\n]*")
_PLAIN_NAME: Final = re.compile(r"\w{1,64}", re.ASCII)
# Indexes without a text are SQLite's own, and ANALYZE makes the tables of statistics.
_SCHEMA: Final = """
SELECT type, name, sql FROM sqlite_schema
WHERE NOT (type = 'index' AND sql IS NULL AND name GLOB 'sqlite_autoindex_*')
AND NOT (type = 'table' AND name IN ('sqlite_sequence', 'sqlite_stat1', 'sqlite_stat4'))
"""


def guard(connection: sqlite3.Connection) -> None:
    """Let SQLite trust nothing in the file; to be called before anything else is."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_MAX_BYTES)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")


def list_schema(schema: Traversable) -> list[Traversable]:
    """Return the schema files, in order."""
    return sorted(
        (item for item in schema.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name
    )


def find_foreign(connection: sqlite3.Connection, files: Sequence[Traversable]) -> str | None:
    """Return in which way the file's schema is not the one that *files* give; ``None`` if it is."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        for file in files:
            model.executescript(file.read_text(encoding="utf-8"))
        wanted = _read_schema(model)
    found = _read_schema(connection)
    for kind, name in found.keys() - wanted.keys():
        return f"its {kind} {_show(name)} is not one of the relay's"
    for kind, name in wanted.keys() - found.keys():
        return f"it lacks the {kind} {name}"
    for kind, name in wanted:
        if found[kind, name] != wanted[kind, name]:
            return f"its {kind} {name} is defined otherwise"
    return None


def _read_schema(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """Return the definitions in the schema, without white space and comments, by kind and name."""
    return {
        (str(kind), str(name)): "".join(_COMMENT.sub("", str(sql)).split())
        for kind, name, sql in connection.execute(_SCHEMA)
    }


def _show(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else "with an odd name"


def find_unsound(connection: sqlite3.Connection, *, whole: bool) -> str | None:
    """Return which table has a row that the relay cannot have written; ``None`` if every row may be used.

    With *whole*, tables that grow with the backlog are read too.
    """
    for table, sound in {**_SMALL, **(_LARGE if whole else {})}.items():
        if connection.execute(f"SELECT 1 FROM {table} WHERE ({sound}) IS NOT TRUE LIMIT 1").fetchone():  # noqa: S608
            return f"the table {table} has a malformed row"
    if connection.execute("SELECT count(*) FROM dead_letter_usage").fetchone()[0] != 1:
        return "the table dead_letter_usage has not one row"
    return None


def _ascii(column: str, allowed: str, max_chars: int) -> str:
    # SQLite counts the characters up to a NUL, but the bytes of the whole value.
    return (
        f"(length({column}) BETWEEN 1 AND {max_chars} AND length(CAST({column} AS BLOB)) = length({column}) "
        f"AND {column} NOT GLOB '*[^{allowed}]*')"
    )


def _id(column: str) -> str:
    return _ascii(column, "0-9", 20)


def _name(column: str, max_chars: int = 64) -> str:
    return _ascii(column, "A-Za-z0-9_-", max_chars)


def _time(column: str) -> str:
    return f"({column} BETWEEN 0 AND {_TIME_MAX_MS})"


def _type(json: str, path: str, *types: str) -> str:
    """Return the condition that what is at *path* has one of *types*; ``''`` stands for nothing there."""
    return f"(coalesce(json_type({json}, '$.{path}'), '') IN ({_quote(types)}))"


def _quote(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _or_null(column: str, condition: str) -> str:
    return f"({column} IS NULL OR {condition})"


def _all(*conditions: str) -> str:
    return " AND ".join(conditions)


def _channel(json: str) -> str:
    return _all(
        _type(json, "id", "text"),
        _type(json, "name", "text", "null"),
        f"json_extract({json}, '$.kind') IN ({_quote(get_args(ChannelKind))})",
    )


def _each(json: str, path: str, condition: str) -> str:
    """Return the condition that each member of the object at *path* meets *condition*, as ``value``."""
    members = f"SELECT 1 FROM json_each({json}, '{path}') WHERE ({condition}) IS NOT TRUE"  # noqa: S608
    return f"NOT EXISTS ({members})"


def _json(column: str, type_: str, *conditions: str) -> str:
    """Return the condition of JSON of this type; SQLite looks into valid JSON only."""
    valid = f"json_valid({column}) AND json_type({column}) = '{type_}'"
    return _case(valid, *conditions)


def _case(first: str, *conditions: str) -> str:
    """Return the condition that *first* holds, and *conditions*, which are looked at only then."""
    return f"(CASE WHEN {first} THEN {_all(*conditions)} ELSE false END)"


def _parameters(column: str) -> str:
    short = f"length(CAST({column} AS BLOB)) <= {PARAMETERS_MAX_BYTES}"
    return _case(short, _json(column, "object", "true"))


_PLACES: Final = _all(
    "json_type(places, '$[0]') = 'object'",
    "json_type(places, '$[1]') = 'object'",
    "json_type(places, '$[2]') IN ('text', 'null')",
    "json_array_length(places) = 3",
    _each("places", "$[0]", _case("type = 'object'", _channel("value"))),
    _each("places", "$[1]", "type = 'text'"),
)
_PART: Final = "json_extract(value, '$[{}]')"
_ROUTE: Final = _case(
    "type = 'array'",
    _name(_PART.format(0)),
    _name(_PART.format(1)),
    _or_null(_PART.format(2), f"{_PART.format(2)} BETWEEN 1 AND 1000"),
    _or_null(_PART.format(3), _parameters(_PART.format(3))),
    _or_null(_PART.format(4), _name(_PART.format(4), SIGNAL_MAX_CHARS)),
    _or_null(_PART.format(5), f"{_PART.format(5)} IN ({_quote(get_args(Key))})"),
    "json_array_length(value) BETWEEN 3 AND 6",
)
_LANE: Final = "lane_id IN (SELECT lane_id FROM lane)"
_PARAMETERS: Final = _or_null("parameters_id", "parameters_id IN (SELECT parameters_id FROM parameters)")
_TERMS: Final = _all(
    _PARAMETERS,
    _or_null("key", _name("key")),
    _or_null("signal", _all("key IS NOT NULL", _name("signal", SIGNAL_MAX_CHARS))),
)
_EVENT_ID_CHARS: Final = "A-Za-z0-9_.-"
_EVENT_ID: Final = _ascii("event_id", _EVENT_ID_CHARS, 64)
_BODY: Final = f"length(CAST(body AS BLOB)) <= {_BODY_MAX_BYTES} AND json_valid(body)"
_BATCH_HAS_EVENTS: Final = (
    "EXISTS (SELECT 1 FROM event WHERE lane_id = batch.lane_id AND seq BETWEEN first_seq AND last_seq)"
)
_SHARD: Final = "shard_count BETWEEN 1 AND 1000000 AND shard_id BETWEEN 0 AND shard_count - 1"

_SMALL: Final[Mapping[str, str]] = {
    "guild": _all(
        _id("guild_id"),
        "known IN (0, 1)",
        _or_null("unwatched_since_ms", _time("unwatched_since_ms")),
        _or_null("gap_reason", f"gap_reason IN ({_quote(get_args(GapReason))})"),
        _or_null("places", _json("places", "array", _PLACES)),
    ),
    "occupant": _all(
        *(_id(column) for column in ("guild_id", "user_id", "channel_id")),
        _or_null("since_ms", _time("since_ms")),
        f"flags BETWEEN 0 AND {(1 << len(FLAGS)) - 1}",
        _json(
            "user",
            "object",
            "json_extract(user, '$.id') = user_id",
            _type("user", "name", "text", "null", ""),
            _type("user", "display_name", "text", "null", ""),
            _type("user", "bot", "true", "false", "null", ""),
        ),
    ),
    "watch": _all(_SHARD, _time("until_ms")),
    "lane": _all(
        _name("workflow"),
        _id("guild_id"),
        _or_null("batch_max_events", "batch_max_events BETWEEN 1 AND 1000"),
        "parked IN (0, 1)",
        _or_null("drop_to_seq", _ascii("drop_to_event", _EVENT_ID_CHARS, 64)),
    ),
    "held": _all(
        _id("guild_id"),
        _id("user_id"),
        "debounce_ms BETWEEN 0 AND 3600000",
        _time("due_ms"),
        _or_null("since_ms", _time("since_ms")),
        _or_null("stay_s", "stay_s BETWEEN 0 AND 1e12"),
        _or_null("origin", _json("origin", "object", _channel("origin"))),
        _json(
            "event",
            "object",
            _type("event", "id", "text"),
            f"json_extract(event, '$.type') IN ({_quote(get_args(VoiceEventType))})",
            "json_extract(event, '$.data.user.id') = user_id",
            "json_extract(event, '$.data.guild.id') = guild_id",
            _type("event", "data.channel", "object", "null"),
            _type("event", "data.changes", "object"),
            _type("event", "data.state", "object"),
            _type("event", "data.inferred", "true", "false"),
        ),
        _json("routes", "array", _each("routes", "$", _ROUTE)),
    ),
    "batch": _all(
        _LANE,
        _name("execution", 80),
        _BATCH_HAS_EVENTS,
        _time("created_ms"),
        "attempts >= 0",
        "has_parameters IN (0, 1)",
        _or_null("target", _name("target", 80)),
        _or_null("last_attempt_ms", _time("last_attempt_ms")),
        _or_null("arn", f"length(CAST(arn AS BLOB)) <= {_ARN_MAX_BYTES} AND {_time('accepted_ms')}"),
    ),
    "session": _all(
        _SHARD,
        _id("bot_id"),
        _ascii("session_id", "!-~", 256),
        _ascii("resume_url", "!-~", 500),
        "seq BETWEEN 0 AND 9007199254740991",
    ),
    "started": _all(_LANE, _name("key"), _name("execution", 80), _time("begun_ms")),
    "lost_file": _time("lost_ms"),
    "parameters": _all("parameters_id > 0", _parameters("body")),
}
"""What holds for each row of the tables that do not grow with the backlog."""

_LARGE: Final[Mapping[str, str]] = {
    "event": _all(_LANE, _EVENT_ID, _name("destination"), _time("entered_ms"), _BODY, _TERMS),
    "dead_letter": _all(
        _LANE, _EVENT_ID, _name("destination"), _time("died_ms"), "redrive IN (0, 1)", _BODY, _TERMS
    ),
}

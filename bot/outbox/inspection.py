"""The outbox file as another process sees it: beside the relay that owns it, or while none is running.

Nothing here takes the directory's lock or changes the schema. Reading is one transaction, on a read-only
connection, and blocks no writer. Marks and deletions go in transactions of a few hundred rows with a pause
between them, so that the relay, which waits for the same lock, soon has its turn.

Reasons and errors come from an API, so anything in them that looks like a secret is masked.
"""

import dataclasses
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

from bot.errors import StoreError
from bot.outbox.database import DAMAGE, FILE_NAME, NOT_UTF8, check_schema
from bot.outbox.lane_marks import LaneMarks
from bot.outbox.records import (
    Chosen,
    Flight,
    HeldEvent,
    Letter,
    Parked,
    Queue,
    Queued,
    Reason,
    Receipt,
    Status,
    Trace,
    Waiting,
)
from bot.outbox.soundness import guard, list_schema
from bot.routing.lane import Lane
from bot.telemetry.secret_patterns import mask_secrets
from bot.ulid import milliseconds_of

_BUSY_S: Final = 60.0
"""How long to wait for a file that the relay keeps busy; SQLite tries ten times a second."""
_CHUNK: Final = 500
# SQLite tries a lock again after 1, 2, 5, 10 ms and so on, so a waiting process finds it free in this time.
_PAUSE_S: Final = 0.02
_SHOWN_MAX: Final = 10
_CLOCK_SLACK_MS: Final = 24 * 3600 * 1000
"""How far the clock may have been set back between an event's capture and its delivery."""
_LETTER_ID_MAX_DIGITS: Final = 18
_SET_ASIDE: Final = ". Start the relay, which sets a damaged file aside and begins a new one."

# The rows of each query are read by the function of the same name below.
_LETTER: Final = """
SELECT letter_id, workflow, guild_id, destination, event_id, dead_letter.body, execution, reason, died_ms,
       redrive, parameters.body, signal
FROM dead_letter JOIN lane USING (lane_id) LEFT JOIN parameters USING (parameters_id)
"""
_WITH_REASON: Final = "WHERE ?1 = '' OR instr(lower(reason), lower(?1))"
_WAITING: Final = """
SELECT workflow, guild_id, destination, event_id, event.body, entered_ms, execution, parameters.body, signal,
       event.lane_id, seq
FROM event JOIN lane USING (lane_id) LEFT JOIN parameters USING (parameters_id)
LEFT JOIN batch ON batch.lane_id = event.lane_id AND seq BETWEEN first_seq AND last_seq
"""
_FLIGHT: Final = """
SELECT workflow, guild_id, execution,
       (SELECT count(*) FROM event WHERE lane_id = batch.lane_id AND seq BETWEEN first_seq AND last_seq),
       created_ms, attempts, last_attempt_ms, last_error, arn, accepted_ms,
       (SELECT signal FROM event WHERE lane_id = batch.lane_id AND seq = first_seq), target
FROM batch JOIN lane USING (lane_id)
"""
_QUEUES: Final = """
SELECT workflow, guild_id, events, entered_ms
FROM (SELECT lane_id, count(*) AS events, min(seq) AS seq FROM event GROUP BY lane_id
      ORDER BY events DESC, seq LIMIT ?)
JOIN lane USING (lane_id) JOIN event USING (seq) ORDER BY events DESC, seq
"""
_PARKED: Final = """
SELECT workflow, guild_id, (SELECT count(*) FROM event WHERE lane_id = lane.lane_id) AS events
FROM lane WHERE parked = 1 ORDER BY events DESC, lane_id
"""
_RECEIPT: Final = """
SELECT workflow, guild_id, execution, arn, attempts, created_ms, delivered_ms, signal, target, outcome
FROM receipt JOIN lane USING (lane_id)
WHERE delivered_ms >= ? AND instr(',' || event_ids || ',', ',' || ? || ',') ORDER BY delivered_ms
"""
_ARN: Final = """
SELECT arn FROM receipt WHERE execution = ?1 AND arn <> ''
UNION ALL SELECT arn FROM batch WHERE execution = ?1 AND arn IS NOT NULL
"""
_HELD: Final = """
SELECT route.value ->> 0, guild_id, route.value ->> 1, event, due_ms FROM held, json_each(routes) AS route
WHERE event ->> 'id' = ?
"""


@contextmanager
def open_inspection(
    data_dir: Path, *, mode: Literal["ro", "rw"] = "ro", busy_s: float = _BUSY_S
) -> Iterator["Inspection"]:
    """Open the outbox in *data_dir*; raises StoreError if there is none, or none of this version."""
    path = data_dir / FILE_NAME
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError(f"{path} is not a file: name another directory with --data-dir")
        uri = f"{path.resolve().as_uri()}?mode={mode}"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_s)) as connection:
            # What is there can be shown, whatever it is.
            connection.text_factory = _decode
            guard(connection)
            _check_version(connection, path)
            yield Inspection(connection, path)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"no outbox in {data_dir} yet: the relay makes it at its first start. If it is in another "
            "directory, name that with --data-dir or VOICE_RELAY_DATA_DIR."
        ) from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StoreError(f"cannot use {path}: {NOT_UTF8}{_SET_ASIDE}") from error
    except sqlite3.Error as error:
        raise StoreError(f"cannot use {path}: {error}{_remedy(error)}") from error


def _remedy(error: sqlite3.Error) -> str:
    remedies = {
        "SQLITE_BUSY": ". The relay keeps it busy: try again.",
        "SQLITE_CANTOPEN": ". Run this as a user who may write in its directory.",
        "SQLITE_READONLY": ". Run this as the user that the relay runs as.",
        **dict.fromkeys(DAMAGE, _SET_ASIDE),
    }
    name = str(getattr(error, "sqlite_errorname", ""))
    return next((text for start, text in remedies.items() if name.startswith(start)), "")


def _decode(text: bytes) -> str:
    return text.decode(errors="replace")


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    files = list_schema(resources.files("bot.outbox").joinpath("schema"))
    found = check_schema(connection, path, files)
    if found < len(files):
        raise StoreError(
            f"{path} was written by an older voice-relay (schema {found}, this one needs {len(files)}): "
            "use that version, or start the relay in this one, which upgrades the file"
        )


class Inspection:
    """The outbox, open for reading or, in mode ``rw``, for changing dead letters and marking lanes too."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._db = connection
        self._path = path
        self._sleep = sleep

    @property
    def lane_marks(self) -> LaneMarks:
        return LaneMarks(self._db, self._sleep)

    def read_status(self) -> Status:
        with self._transaction():
            pages, free, page_bytes = (
                self._one(f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
            )
            lanes = self._one("SELECT count(DISTINCT lane_id) FROM event")
            reasons = self._rows(
                "SELECT reason, count(*) FROM dead_letter GROUP BY reason ORDER BY 2 DESC, 1 LIMIT ?",
                _SHOWN_MAX,
            )
            return Status(
                path=self._path,
                file_bytes=pages * page_bytes,
                used_bytes=(pages - free) * page_bytes,
                wal_bytes=self._wal_bytes(),
                waiting=self._one("SELECT count(*) FROM event"),
                lanes=lanes,
                queues=[Queue(Lane(*row[:2]), *row[2:]) for row in self._rows(_QUEUES, _SHOWN_MAX)],
                parked=self._read_parked(),
                flights=[_flight(row) for row in self._rows(f"{_FLIGHT} ORDER BY created_ms")],
                letters=self._one("SELECT count(*) FROM dead_letter"),
                marked=self._one("SELECT count(*) FROM dead_letter WHERE redrive = 1"),
                reasons=[Reason(mask_secrets(reason), count) for reason, count in reasons],
                reason_count=self._one("SELECT count(DISTINCT reason) FROM dead_letter"),
                held=self._one("SELECT count(*) FROM held WHERE routes <> '[]'"),
                receipts=self._one("SELECT count(*) FROM receipt"),
                oldest_receipt_ms=self._one("SELECT min(delivered_ms) FROM receipt"),
            )

    def _read_parked(self) -> Parked:
        lanes = [(Lane(*row[:2]), row[2]) for row in self._rows(_PARKED)]
        to_drop = self._one("SELECT count(*) FROM lane WHERE drop_to_seq IS NOT NULL")
        return Parked(len(lanes), sum(events for _, events in lanes), lanes[:_SHOWN_MAX], to_drop)

    def list_letters(self, *, limit: int, reason: str = "") -> tuple[list[Letter], int]:
        """Return the newest *limit* dead letters, oldest first, and how many there are.

        Counts only those whose reason contains *reason*, whatever the case.
        """
        with self._transaction():
            total = self._one(f"SELECT count(*) FROM dead_letter {_WITH_REASON}", reason)  # noqa: S608
            rows = self._rows(f"{_LETTER} {_WITH_REASON} ORDER BY letter_id DESC LIMIT ?2", reason, limit)
        return [_letter(row) for row in reversed(rows)], total

    def list_waiting(self, *, limit: int) -> tuple[list[Waiting], int]:
        """Return the first *limit* events that wait or are in flight, and how many there are."""
        with self._transaction():
            total = self._one("SELECT count(*) FROM event")
            rows = self._rows(f"{_WAITING} ORDER BY seq LIMIT ?", limit)
        return [_waiting(row) for row in rows], total

    def find_letters(self, name: str) -> list[Letter]:
        """Return the dead letters called *name*: the number of one, or the id of its event."""
        column = "letter_id" if _is_letter_id(name) else "event_id"
        return [_letter(row) for row in self._rows(f"{_LETTER} WHERE {column} = ? ORDER BY letter_id", name)]

    def find_waiting(self, event_id: str) -> list[Waiting]:
        """Return the event in each lane in which it waits or is in flight."""
        return [_waiting(row) for row in self._rows(f"{_WAITING} WHERE event_id = ? ORDER BY seq", event_id)]

    def choose(self, names: Sequence[str]) -> Chosen:
        """Return the dead letters called by *names*."""
        with self._transaction():
            found = {name: [letter.letter_id for letter in self.find_letters(name)] for name in names}
        return Chosen(
            sorted({letter_id for ids in found.values() for letter_id in ids}),
            [name for name, ids in found.items() if not ids],
        )

    def choose_all(self, reason: str = "") -> Chosen:
        """Return all dead letters whose reason contains *reason*."""
        query = f"SELECT letter_id FROM dead_letter {_WITH_REASON} ORDER BY letter_id"  # noqa: S608
        return Chosen([letter_id for (letter_id,) in self._rows(query, reason)], [])

    def mark_for_redrive(self, letter_ids: Sequence[int]) -> int:
        """Mark these dead letters for redrive; return how many were not marked before."""
        return self._change("UPDATE dead_letter SET redrive = 1 WHERE redrive = 0", letter_ids)

    def drop(self, letter_ids: Sequence[int]) -> int:
        """Delete these dead letters; return how many were still there."""
        return self._change("DELETE FROM dead_letter WHERE true", letter_ids)

    def trace(self, event_id: str) -> Trace:
        since_ms = 0
        with suppress(ValueError):
            since_ms = milliseconds_of(event_id) - _CLOCK_SLACK_MS
        with self._transaction():
            trace = Trace(
                held=[HeldEvent(Lane(*row[:2]), *row[2:]) for row in self._rows(_HELD, event_id)],
                queued=[self._queued(row) for row in self._rows(f"{_WAITING} WHERE event_id = ?", event_id)],
                receipts=self._receipts(event_id, since_ms),
                letters=[_letter(row) for row in self._rows(f"{_LETTER} WHERE event_id = ?", event_id)],
            )
            if trace:
                return trace
            return Trace([], [], self._receipts(event_id, 0), [])

    def find_arn(self, execution: str) -> str | None:
        """Return the ARN of the execution of this name, if it is under way or has a receipt."""
        rows = self._rows(_ARN, execution)
        return rows[0][0] if rows else None

    def _queued(self, row: Sequence[Any]) -> Queued:
        lane_id, seq = row[-2:]
        flights = self._rows(f"{_FLIGHT} WHERE lane_id = ?", lane_id)
        return Queued(
            event=_waiting(row),
            position=self._one("SELECT count(*) FROM event WHERE lane_id = ? AND seq <= ?", lane_id, seq),
            length=self._one("SELECT count(*) FROM event WHERE lane_id = ?", lane_id),
            flight=_flight(flights[0]) if flights else None,
        )

    def _receipts(self, event_id: str, since_ms: int) -> list[Receipt]:
        return [_receipt(row) for row in self._rows(_RECEIPT, since_ms, event_id)]

    def _change(self, statement: str, letter_ids: Sequence[int]) -> int:
        changed = 0
        for start in range(0, len(letter_ids), _CHUNK):
            if start:
                self._sleep(_PAUSE_S)
            chunk = letter_ids[start : start + _CHUNK]
            places = ",".join("?" * len(chunk))
            # Without a transaction around it a statement is one of its own.
            changed += self._db.execute(f"{statement} AND letter_id IN ({places})", chunk).rowcount
        return changed

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """See one state of the file; the caller only reads."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def _rows(self, query: str, *values: object) -> list[Any]:
        return self._db.execute(query, values).fetchall()

    def _one(self, query: str, *values: object) -> Any:
        return self._db.execute(query, values).fetchone()[0]

    def _wal_bytes(self) -> int:
        try:
            return self._path.with_name(self._path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0


def _is_letter_id(name: str) -> bool:
    """Tell the number of a letter from the id of an event, which has 26 characters."""
    return name.isascii() and name.isdecimal() and len(name) <= _LETTER_ID_MAX_DIGITS


def _letter(row: Sequence[Any]) -> Letter:
    letter = Letter(row[0], Lane(*row[1:3]), *row[3:])
    return dataclasses.replace(letter, reason=mask_secrets(letter.reason), redrive=bool(letter.redrive))


def _receipt(row: Sequence[Any]) -> Receipt:
    receipt = Receipt(Lane(*row[:2]), *row[2:])
    outcome = None if receipt.outcome is None else mask_secrets(receipt.outcome)
    return dataclasses.replace(receipt, outcome=outcome)


def _waiting(row: Sequence[Any]) -> Waiting:
    return Waiting(Lane(*row[:2]), *row[2:9])


def _flight(row: Sequence[Any]) -> Flight:
    flight = Flight(Lane(*row[:2]), *row[2:])
    error = None if flight.last_error is None else mask_secrets(flight.last_error)
    return dataclasses.replace(flight, last_error=error)

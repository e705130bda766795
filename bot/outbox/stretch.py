"""A stretch of a lane: its first events, from which a batch is cut.

SQLite joins the rows up, and Python cuts them: the sqlite3 module lets go of the interpreter's lock at each
row, and a thread that asks for it hundreds of times beside a busy event loop waits each time.
"""

import sqlite3
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from bot.outbox.database import NOT_TEXT

BATCH_MAX_BYTES: Final = 200 * 1024
"""Room for the events of one batch; Step Functions takes an input of 262,144 bytes."""

_LAST_SEQ: Final = 2**63 - 1

# group_concat takes the rows in the order in which the ordered subquery hands them over.
_READ: Final = """
SELECT group_concat(seq), group_concat(entered_ms), group_concat(destination), group_concat(event_id),
       group_concat(kind), group_concat(length(body)),
       CAST(group_concat(body, '') AS BLOB)
FROM (SELECT seq, entered_ms, destination, event_id, CAST(body AS BLOB) AS body,
             CASE WHEN key IS NULL THEN coalesce(parameters_id, 0) ELSE -seq END AS kind
      FROM event WHERE lane_id = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?)
"""


class Stretch(NamedTuple):
    """Events of a lane, in order, column by column; ``bodies`` is their JSON.

    ``entered_ms`` is when each came into the lane. Events of different ``kinds`` share no batch: a kind is
    the number of the parameters, and an event with a key is of its own kind.
    """

    seqs: Sequence[int]
    entered_ms: Sequence[int]
    destinations: Sequence[str]
    event_ids: tuple[str, ...]
    kinds: Sequence[str]
    bodies: Sequence[bytes]

    def fit(self) -> "Stretch":
        """Return its beginning that is of one kind, goes to one destination and fits into BATCH_MAX_BYTES.

        A single event always fits.
        """
        ends = accumulate(len(body) + 1 for body in self.bodies)
        wanted = list(zip(self.destinations, self.kinds, strict=True))
        for count, (end, own) in enumerate(zip(ends, wanted, strict=True)):
            if count and (end > BATCH_MAX_BYTES or own != wanted[0]):
                return self._cut(count)
        return self

    def _cut(self, count: int) -> "Stretch":
        return Stretch(
            self.seqs[:count],
            self.entered_ms[:count],
            self.destinations[:count],
            self.event_ids[:count],
            self.kinds[:count],
            self.bodies[:count],
        )


def read_stretch(
    db: sqlite3.Connection, lane_id: int, *, first_seq: int = 0, last_seq: int = _LAST_SEQ, limit: int = -1
) -> Stretch:
    """Return up to *limit* of the lane's events from *first_seq* to *last_seq*."""
    row = db.execute(_READ, (lane_id, first_seq, last_seq, limit)).fetchone()
    if row[0] is None:
        return Stretch((), (), (), (), (), ())
    seqs, entered_ms, destinations, event_ids, kinds, sizes = (column.split(",") for column in row[:-1])
    ends = (0, *accumulate(map(int, sizes)))
    try:
        # The sqlite3 module checks what it decodes, and this stays bytes.
        row[-1].decode()
    except UnicodeDecodeError as error:
        raise sqlite3.DatabaseError(f"{NOT_TEXT} an event") from error
    bodies = [row[-1][start:end] for start, end in pairwise(ends)]
    return Stretch([*map(int, seqs)], [*map(int, entered_ms)], destinations, tuple(event_ids), kinds, bodies)

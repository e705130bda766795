"""The table of parameters: each set that rules hand to their workflows once, by a number.

Events name the number, because a backlog of them may have the same four kilobytes. An event without
parameters, which is the usual one, names none.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from bot.routing.rules import NO_PARAMETERS

NONE_ID: Final = 0
"""Stands for no parameters where a number is needed."""

_DROP_UNUSED: Final = """
DELETE FROM parameters
WHERE NOT EXISTS (SELECT 1 FROM event WHERE event.parameters_id = parameters.parameters_id)
AND NOT EXISTS (SELECT 1 FROM dead_letter WHERE dead_letter.parameters_id = parameters.parameters_id)
"""


def read_parameters(db: sqlite3.Connection) -> dict[int, str]:
    """Return each set of parameters that an event has, by its number, and drop the others."""
    db.execute(_DROP_UNUSED)
    return dict(db.execute("SELECT parameters_id, body FROM parameters").fetchall())


def add_parameters(db: sqlite3.Connection, bodies: Iterable[str]) -> dict[int, str]:
    """Number *bodies*, none of which is in the table, and return them by their numbers."""
    added = {}
    for body in bodies:
        number = db.execute("INSERT INTO parameters (body) VALUES (?)", (body,)).lastrowid
        assert number is not None  # noqa: S101  # an INSERT has a row
        added[number] = body
    return added


class ParameterNumbers:
    """What the table holds, in memory, both ways round."""

    def __init__(self, bodies: Mapping[int, str]) -> None:
        self._bodies: dict[int, str] = {NONE_ID: NO_PARAMETERS}
        self._numbers: dict[str, int | None] = {NO_PARAMETERS: None}
        self.learn(bodies)

    def learn(self, bodies: Mapping[int, str]) -> None:
        """Note what is now in the table."""
        self._bodies.update(bodies)
        self._numbers.update((body, number) for number, body in bodies.items())

    def find_new(self, bodies: Iterable[str]) -> set[str]:
        """Return those of *bodies* that are not in the table."""
        return set(bodies) - self._numbers.keys()

    def number(self, body: str) -> int | None:
        return self._numbers[body]

    def body(self, number: int) -> str:
        return self._bodies[number]

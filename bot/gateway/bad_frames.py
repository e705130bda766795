"""Counts the connections that end over a bad frame, to tell poison in the session from a bad network.

A RESUME replays the frame that the last connection ended over. If it was spoilt on the way, it is whole this
time. If the next connections end at the same place in the session, it will never be.
"""

from typing import Final

ATTEMPTS: Final = 5
"""So many connections may end over a bad frame at the same place in the session."""
GOOD_S: Final = 60.0
"""A connection that lasted as long counts as good, whatever it ended over."""


class BadFrames:
    """``in_a_row`` is how many connections, one after the other, ended over a bad frame."""

    def __init__(self) -> None:
        self.in_a_row = 0
        self._at_seq: int | None = None
        self._times = 0

    def end(self, *, bad: bool, lasted_s: float) -> None:
        """Note that a connection ended, *lasted_s* after READY or RESUMED, and whether over a bad frame."""
        if not bad or lasted_s >= GOOD_S:
            self.in_a_row = 0
        if bad:
            self.in_a_row += 1

    def stop_at(self, seq: int) -> bool:
        """Note a bad frame behind the one numbered *seq*; return whether it will never be whole."""
        self._times = self._times + 1 if seq == self._at_seq else 1
        self._at_seq = seq
        if self._times < ATTEMPTS:
            return False
        self._at_seq = None
        return True

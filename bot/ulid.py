"""ULIDs: identifiers that are unique and sort by time.

A ULID is 48 bits of milliseconds and 80 random bits, written as 26 characters of Crockford's base 32.
Within a millisecond, or if the clock steps back, the last random part is incremented instead of drawn anew,
so that the identifiers of a process ascend strictly.
"""

# https://github.com/ulid/spec

import secrets
from collections.abc import Callable

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_RANDOM_BITS = 80
_RANDOM_MASK = (1 << _RANDOM_BITS) - 1


class UlidFactory:
    """Makes ULIDs: call it with the time in milliseconds since 1970 for the next one.

    Not thread-safe. *random_bits* returns 80 random bits.
    """

    def __init__(self, random_bits: Callable[[], int] = lambda: secrets.randbits(_RANDOM_BITS)) -> None:
        self._random_bits = random_bits
        self._last_ms = -1
        self._bits = 0
        self._stem = ""

    def __call__(self, now_ms: int) -> str:
        if now_ms > self._last_ms:
            self._begin(now_ms, self._random_bits())
        elif self._bits == _RANDOM_MASK:
            self._begin(self._last_ms + 1, 0)
        else:
            self._bits += 1
            if not self._bits & 1023:
                self._write_stem()
        return self._stem + _PAIRS[self._bits & 1023]

    def _begin(self, now_ms: int, bits: int) -> None:
        self._last_ms = now_ms
        # The top bit is cleared so that incrementing within a millisecond cannot overflow.
        self._bits = bits & (_RANDOM_MASK >> 1)
        self._write_stem()

    def _write_stem(self) -> None:
        """Write all but the last two characters, which alone differ in the next thousand or so."""
        bits = self._last_ms << _RANDOM_BITS | self._bits
        self._stem = "".join([_PAIRS[bits >> shift & 1023] for shift in range(120, 0, -10)])


def milliseconds_of(ulid: str) -> int:
    """Return the time in *ulid*, in milliseconds since 1970; ValueError if it is not a ULID."""
    if len(ulid) != 26:
        raise ValueError("a ULID has 26 characters")
    value = 0
    for character in ulid[:10]:
        value = value << 5 | _ALPHABET.index(character)
    return value

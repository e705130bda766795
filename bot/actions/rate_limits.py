"""When a request to Discord may be sent: pure, and told the time.

Discord limits each route (by channel or server), and the bot as a whole. Its answers say how many requests
are left and, where there are none, for how long; no figure is written down here. Thousands of refused
requests lock an address out, so this stops well before.
"""

# https://docs.discord.com/developers/topics/rate-limits

from collections import deque
from collections.abc import Mapping
from typing import Final

INVALID_MAX: Final = 5_000
"""Refused requests in ten minutes; Discord locks an address out after 10,000."""
_INVALID_S: Final = 600.0
_INVALID_STATUSES: Final = frozenset({401, 403, 429})
_KEPT_MAX: Final = 1_000
_WAIT_MAX_S: Final = 86_400.0
_WAIT_DEFAULT_S: Final = 5.0


class RateLimits:
    """Knows until when each route must rest."""

    def __init__(self) -> None:
        self._rests: dict[str, float] = {}
        self._all_rest_until_s = 0.0
        self._invalid: deque[float] = deque(maxlen=INVALID_MAX)

    def wait_s(self, route: str, now_s: float) -> float:
        """Return how long a request of *route* has to wait."""
        until_s = max(self._rests.get(route, 0.0), self._all_rest_until_s)
        if len(self._invalid) == INVALID_MAX:
            until_s = max(until_s, self._invalid[0] + _INVALID_S)
        return max(0.0, until_s - now_s)

    def note(self, route: str, status: int, headers: Mapping[str, str], answer: object, now_s: float) -> None:
        """Take what an answer says."""
        if status in _INVALID_STATUSES and headers.get("X-RateLimit-Scope") != "shared":
            self._invalid.append(now_s)
        if status == 429:
            wait_s = _refused_for_s(headers, answer)
            if isinstance(answer, dict) and answer.get("global") is True:
                self._all_rest_until_s = max(self._all_rest_until_s, now_s + wait_s)
            else:
                self._rest(route, now_s + wait_s, now_s)
        elif headers.get("X-RateLimit-Remaining") == "0":
            self._rest(route, now_s + _seconds(headers.get("X-RateLimit-Reset-After")), now_s)

    def _rest(self, route: str, until_s: float, now_s: float) -> None:
        if len(self._rests) >= _KEPT_MAX:
            self._rests = {each: s for each, s in self._rests.items() if s > now_s}
        self._rests[route] = max(self._rests.get(route, 0.0), until_s)


def route_of(method: str, path: str) -> str:
    """Return what is limited together: the method, the channel or server, and the kind of the rest."""
    _, kind, major, *rest = path.split("/")
    return "/".join([method, kind, major, *("*" if part.isdecimal() else part for part in rest)])


def _refused_for_s(headers: Mapping[str, str], answer: object) -> float:
    """Return the wait that a 429 asks for: the longer of its body's and its header's."""
    told = answer.get("retry_after") if isinstance(answer, dict) else None
    return max(_seconds(told), _seconds(headers.get("Retry-After"))) or _WAIT_DEFAULT_S


def _seconds(value: object) -> float:
    """Return a wait as told, at most a day; 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        return 0.0
    return min(seconds, _WAIT_MAX_S) if seconds > 0 else 0.0

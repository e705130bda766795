"""What became of posts, for each destination by itself: what the end of a followed execution means.

    ended as                                             its events
    SUCCEEDED                                            are delivered
    FAILED: the message was refused as invalid, or could not be built
        of several events                                go again, half as many at a time
        of one                                           become a dead letter
    FAILED: refused for another reason                   become dead letters
    the same, REFUSALS_TO_PAUSE times in a row or more   go again after a rest: the webhook is at fault
    anything else                                        become dead letters

Without room for dead letters, events go again after a rest too.

A refusal for a reason other than the message is the destination's trouble until a post succeeds.
"""

import re
from dataclasses import dataclass
from typing import Final

from bot.api.execution_responses import SUCCEEDED, Execution
from bot.api.quote import quote

REFUSALS_TO_PAUSE: Final = 5
REST_BASE_S: Final = 10.0
REST_MAX_S: Final = 300.0
"""A webhook that is gone must not be called again and again: Discord restricts the address that does."""
# https://docs.discord.com/developers/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans

_REFUSED: Final = re.compile(r"api ?gateway\.(4\d\d)", re.IGNORECASE | re.ASCII)
"""The task's error when Discord, or the proxy before it, refuses a post: ``ApiGateway.404``."""
_INVALID: Final = frozenset({"400", "413"})
_NOT_BUILT: Final = "States.QueryEvaluationError"
_REASON_MAX_CHARS: Final = 500


@dataclass(frozen=True, slots=True)
class End:
    """What a failed execution means for its events: exactly one of the three."""

    reason: str
    split: bool = False
    rest_s: float | None = None


class Posts:
    """What is known of the posts to one *destination*."""

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self.trouble: str | None = None
        """Why posts to it are refused; ``None`` once one succeeded."""
        self.refused = 0
        """How many posts were refused, ever."""
        self._run = 0

    def succeed(self) -> None:
        """Note that a post succeeded."""
        self._run = 0
        self.trouble = None

    def fail(self, execution: Execution, *, events: int, can_bury: bool) -> End:
        """Note that *execution*, of so many *events*, ended otherwise, and return what that means."""
        reason = explain(execution)
        found = _REFUSED.match(execution.error or "")
        invalid = execution.error == _NOT_BUILT or (found is not None and found[1] in _INVALID)
        if found is not None:
            self.refused += 1
        if invalid and events > 1:
            return End(reason, split=True)
        if found is not None:
            self._run += 1
        if found is not None and (not invalid or self._run >= REFUSALS_TO_PAUSE):
            self.trouble = f"posts to the destination {self.destination} fail: {reason}"
        if not can_bury or (found is not None and self._run >= REFUSALS_TO_PAUSE):
            return End(reason, rest_s=self._rest_s())
        return End(reason)

    def _rest_s(self) -> float:
        return min(REST_MAX_S, REST_BASE_S * 2.0 ** min(max(0, self._run - REFUSALS_TO_PAUSE), 10))


def explain(execution: Execution) -> str:
    """Return how *execution* ended, in its own words where it has any."""
    if execution.status == SUCCEEDED:
        return SUCCEEDED
    words = ": ".join(filter(None, (execution.error, execution.cause)))
    if execution.status == "TIMED_OUT":
        # Step Functions says no more of it.
        words = words or "Discord throttled it for longer than an execution may take"
    said = f": {quote(words, (), max_chars=_REASON_MAX_CHARS)}" if words else ""
    return f"the execution {execution.name} ended as {execution.status}{said}"

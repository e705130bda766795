"""How long each hop of a test event took.

Two clocks are involved: AWS's times what happens on AWS, this machine's what happens here, and no duration
mixes them. The execution starts between the request and its answer, which tells how far they are apart.
"""

from dataclasses import dataclass

from bot.api.executions import SUCCEEDED, Execution
from bot.cli.execution_view import render_length
from bot.text import render_time

Facts = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Sent:
    """An accepted event: ``arn`` is the execution, and ``request_s`` how long the API took to start it.

    ``sent_ms`` and ``accepted_ms`` are by this machine's clock.
    """

    arn: str
    sent_ms: int
    accepted_ms: int
    request_s: float


def describe_start(sent: Sent) -> Facts:
    """Return the hop to the execution."""
    return [
        ("execution", sent.arn),
        ("request", f"accepted in {sent.request_s * 1000:.0f} ms, including the connection set-up"),
    ]


def describe_hops(sent: Sent, found: Execution) -> Facts:
    """Return the hops through the execution as far as it got."""
    clocks = compare_clocks(sent, found.started_ms)
    facts = [("started", f"{render_time(found.started_ms)} by AWS's clock, which {clocks}")]
    if found.ended_ms is not None:
        length = render_length(found.ended_ms - found.started_ms)
        facts.append(("ended", f"{render_time(found.ended_ms)} by AWS's clock, after {length}"))
    return facts


def describe_end(found: Execution, *, posts: bool, whole_s: float, late_s: float) -> Facts:
    """Return how it ended, and that this was seen *whole_s* after sending, up to *late_s* late.

    A workflow that *posts* succeeds only if Discord has accepted the message.
    """
    accepted = found.status == SUCCEEDED and posts
    return [
        ("result", f"{found.status}: Discord has accepted the message" if accepted else found.status),
        ("total", f"{whole_s:.3f} s by this machine's clock (polling adds up to {late_s:.3f} s)"),
    ]


def compare_clocks(sent: Sent, started_ms: int) -> str:
    """Compare AWS's clock with this machine's: the start lies between the request and its answer."""
    least_ms, most_ms = started_ms - sent.accepted_ms, started_ms - sent.sent_ms
    within = f"to within {(most_ms - least_ms) / 2000:.3f} s"
    if least_ms <= 0 <= most_ms:
        return f"agrees with this machine's {within}"
    middle_ms = (least_ms + most_ms) / 2
    side = "ahead of" if middle_ms > 0 else "behind"
    return f"is {abs(middle_ms) / 1000:.3f} s {side} this machine's, {within}"

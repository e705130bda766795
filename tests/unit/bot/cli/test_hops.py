"""How long each hop of a test event took, by two clocks."""

from dataclasses import replace

import pytest

from bot.api.executions import Execution
from bot.cli.hops import Sent, compare_clocks, describe_end, describe_hops

ARN = "arn:aws:states:us-east-1:123456789012:execution:m:n"


@pytest.mark.parametrize(
    ("started_ms", "words"),
    [
        (1_100, "agrees with this machine's to within 0.100 s"),
        (1_000, "agrees with this machine's to within 0.100 s"),
        (1_200, "agrees with this machine's to within 0.100 s"),
        (4_100, "is 3.000 s ahead of this machine's, to within 0.100 s"),
        (600, "is 0.500 s behind this machine's, to within 0.100 s"),
    ],
)
def test_compares_clocks(started_ms: int, words: str) -> None:
    """The execution started somewhere between the request at 1000 and the answer at 1200."""
    assert compare_clocks(Sent(ARN, 1_000, 1_200, 0.2), started_ms) == words


@pytest.mark.parametrize(
    ("posts", "status", "result"),
    [
        (True, "SUCCEEDED", "SUCCEEDED: Discord has accepted the message"),
        (False, "SUCCEEDED", "SUCCEEDED"),
        (True, "FAILED", "FAILED"),
    ],
)
def test_only_posting_workflow_mentions_discord(posts: bool, status: str, result: str) -> None:
    found = Execution(ARN, "n", status, 1_000, 2_000, None, None, None, None)
    assert dict(describe_end(found, posts=posts, whole_s=1.0, late_s=0.5))["result"] == result


def test_hops_end_where_execution_does() -> None:
    found = Execution(ARN, "n", "RUNNING", 1_100, None, None, None, None, None)
    sent = Sent(ARN, 1_000, 1_200, 0.2)
    assert [name for name, _ in describe_hops(sent, found)] == ["started"]
    ended = dict(describe_hops(sent, replace(found, ended_ms=1_600)))["ended"]
    assert ended.endswith("by AWS's clock, after 0.500 s")

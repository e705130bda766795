"""What the end of a followed execution means for its events, and for its destination."""

import pytest

from bot.api.execution_responses import Execution
from bot.delivery.posts import REFUSALS_TO_PAUSE, REST_BASE_S, REST_MAX_S, End, Posts

GONE = ("ApiGateway.404", '{"message": "Unknown Webhook", "code": 10015}')
INVALID = ("ApiGateway.400", '{"message": "Invalid Form Body", "code": 50035}')


def ended(error: str | None = None, cause: str | None = None, *, status: str = "FAILED") -> Execution:
    return Execution("arn:x", "1-x", status, 0, 1, None, None, error, cause)


def fail(posts: Posts, error: tuple[str, str], *, events: int = 1, can_bury: bool = True) -> End:
    return posts.fail(ended(*error), events=events, can_bury=can_bury)


def test_refusal_becomes_dead_letter() -> None:
    posts = Posts("default")
    end = fail(posts, GONE, events=3)
    said = 'ended as FAILED: ApiGateway.404: {"message": "Unknown Webhook", "code": 10015}'
    assert end == End(f"the execution 1-x {said}")
    assert posts.trouble == f"posts to the destination default fail: the execution 1-x {said}"
    assert posts.refused == 1


def test_success_ends_trouble() -> None:
    posts = Posts("default")
    fail(posts, GONE)
    posts.succeed()
    assert posts.trouble is None


@pytest.mark.parametrize("error", [INVALID, ("States.QueryEvaluationError", "no such field")])
def test_invalid_message_is_split(error: tuple[str, str]) -> None:
    """One bad event must not take its neighbours down; it is its own fault, not the destination's."""
    posts = Posts("default")
    assert fail(posts, error, events=4).split
    assert not fail(posts, error, events=1).split
    assert posts.trouble is None


def test_run_of_refusals_pauses() -> None:
    """The webhook is at fault then: events wait, longer each time, up to a bound."""
    posts = Posts("default")
    rests = [fail(posts, GONE).rest_s for _ in range(REFUSALS_TO_PAUSE + 10)]
    assert rests[: REFUSALS_TO_PAUSE - 1] == [None] * (REFUSALS_TO_PAUSE - 1)
    assert rests[REFUSALS_TO_PAUSE - 1 :][:2] == [REST_BASE_S, 2 * REST_BASE_S]
    assert rests[-1] == REST_MAX_S
    posts.succeed()
    assert fail(posts, GONE).rest_s is None


def test_run_of_invalid_messages_pauses() -> None:
    posts = Posts("default")
    ends = [fail(posts, INVALID) for _ in range(REFUSALS_TO_PAUSE)]
    assert [end.rest_s is None for end in ends] == [True] * (REFUSALS_TO_PAUSE - 1) + [False]
    assert posts.trouble is not None


def test_full_dead_letters_make_events_wait() -> None:
    assert fail(Posts("default"), ("States.Timeout", ""), can_bury=False).rest_s == REST_BASE_S


TIMED_OUT = "TIMED_OUT: Discord throttled it for longer than an execution may take"


@pytest.mark.parametrize(("status", "said"), [("ABORTED", "ABORTED"), ("TIMED_OUT", TIMED_OUT)])
def test_other_ends_become_dead_letters(status: str, said: str) -> None:
    posts = Posts("default")
    ends = [posts.fail(ended(status=status), events=2, can_bury=True) for _ in range(9)]
    assert set(ends) == {End(f"the execution 1-x ended as {said}")}
    assert (posts.trouble, posts.refused) == (None, 0)


def test_reason_is_clean_and_short() -> None:
    end = fail(Posts("default"), ("ApiGateway.502", "\x1b[2J" + "x" * 9000))
    assert end.reason.isprintable()
    assert len(end.reason) < 600

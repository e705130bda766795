"""Polls come at growing intervals, within a budget, and first where events wait."""

from itertools import pairwise

import pytest

from bot.delivery.polls import (
    AT_ONCE_MAX,
    AT_ONCE_S,
    POLL_CAP_S,
    POLL_FIRST_S,
    POLL_GROWTH,
    POLLS_PER_S,
    Budget,
    Followed,
    Polls,
)
from bot.outbox.batch import Batch
from bot.routing.lane import Lane

POLLS_AT_ONCE = int(POLLS_PER_S * AT_ONCE_S)


def followed(lane_id: int, due_s: float = 0.0) -> Followed:
    return Followed(Batch(lane_id, Lane("notify", str(lane_id)), f"x{lane_id}", b"", ("e",), 0), due_s)


def take_all(polls: Polls, now_s: float) -> list[int]:
    taken = []
    while (one := polls.take(now_s)) is not None:
        taken.append(one.batch.lane_id)
    return taken


def test_takes_only_due() -> None:
    polls = Polls(lambda _: False)
    polls.add(followed(1, due_s=0.2))
    assert polls.take(0.1) is None
    assert polls.wait_s(0.1) == pytest.approx(0.1)
    assert take_all(polls, 0.2) == [1]
    assert (len(polls), polls.wait_s(0.2)) == (0, None)


def test_intervals_grow_to_cap() -> None:
    one = followed(1)
    waits = []
    for _ in range(30):
        one.postpone(0.0)
        waits.append(one.due_s)
    assert waits[0] == pytest.approx(POLL_FIRST_S * POLL_GROWTH)
    assert all(later <= sooner * POLL_GROWTH + 1e-9 for sooner, later in pairwise(waits))
    assert waits[-1] == POLL_CAP_S


def test_budget_bounds_polls() -> None:
    """Whatever is due, no more are taken than were saved up and come in since."""
    polls = Polls(lambda _: True)
    for number in range(2000):
        polls.add(followed(number))
    taken = [len(take_all(polls, second / 4)) for second in range(4 * 60 + 1)]
    assert taken[0] == POLLS_AT_ONCE
    assert sum(taken) == pytest.approx(POLLS_AT_ONCE + 60 * POLLS_PER_S, abs=1)


def test_wait_ends_when_budget_allows() -> None:
    budget = Budget(POLLS_PER_S)
    while budget.take(0.0):
        pass
    wait_s = budget.wait_s(0.0)
    assert not budget.take(wait_s * 0.99)
    assert budget.take(wait_s * 1.01)


def test_awaited_lanes_go_first() -> None:
    """Quiet ones get what is left, and move up when events come to wait behind them."""
    awaited = {7}
    polls = Polls(lambda batch: batch.lane_id in awaited)
    for number in range(1, POLLS_AT_ONCE + 11):
        polls.add(followed(number))
    assert take_all(polls, 0.0) == [7, *(number for number in range(1, POLLS_AT_ONCE + 1) if number != 7)]
    awaited.add(POLLS_AT_ONCE + 5)
    first, *rest = take_all(polls, 60.0)
    assert first == POLLS_AT_ONCE + 5
    assert len(rest) == 9


def test_pause_holds_all() -> None:
    polls = Polls(lambda _: True)
    polls.add(followed(1))
    polls.pause(10.0)
    assert polls.take(9.9) is None
    assert polls.wait_s(4.0) == pytest.approx(6.0)
    assert take_all(polls, 10.0) == [1]


def test_hurry_makes_all_due() -> None:
    polls = Polls(lambda _: False)
    for number in range(3):
        polls.add(followed(number, due_s=30.0 - number))
    polls.hurry(1.0)
    assert sorted(take_all(polls, 1.0)) == [0, 1, 2]


def test_rate_can_be_low() -> None:
    """One poll is always saved up, however rare they are."""
    budget = Budget(0.1)
    assert budget.take(0.0)
    while budget.take(0.0):
        pass
    assert 0 < budget.wait_s(0.0) <= 10.0
    budget = Budget(0.01)
    assert [budget.take(0.0), budget.take(50.0), budget.take(101.0)] == [True, False, True]


def test_high_rate_saves_up_no_more() -> None:
    """The account's own store of polls does not grow with its rate."""
    budget = Budget(1000.0)
    taken = 0
    while budget.take(0.0):
        taken += 1
    assert taken == AT_ONCE_MAX

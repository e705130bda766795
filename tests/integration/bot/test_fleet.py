"""Fleets of guilds on a clock that jumps: the relay's follower within the quotas of an account."""

from tests.bench.fleet import Fleet, Outcome, render, simulate
from tests.support.virtual_time import run_virtually


def run(fleet: Fleet) -> Outcome:
    return run_virtually(simulate(fleet))


def test_quiet_guilds_get_messages_at_once() -> None:
    found = run(Fleet("quiet", 50, 0.5, for_s=600))
    assert found.median_s < 1
    assert found.events_per_message < 1.2
    assert found.throttled_polls == 0


def test_hundred_busy_guilds_share_the_polls() -> None:
    """Each gets fuller messages, none of them late, and nothing is refused."""
    found = run(Fleet("busy", 100, 100, for_s=300))
    assert found.throttled_polls == 0
    assert found.events_per_message > 5
    assert found.late_s < 20


def test_refused_polls_recover() -> None:
    """Even where the account allows a third of what the relay asks."""
    found = run(Fleet("refused", 100, 20, polls_per_s=30, describe_per_s=10, for_s=900))
    assert found.throttled_polls > 0
    assert found.late_s < 60


def test_renders_row_for_each_fleet() -> None:
    fleet = Fleet("ten", 10, 1, for_s=60)
    *_, row = render([(fleet, run(fleet))]).splitlines()
    assert row.startswith("| ten | 1.")

"""Each kind of difference is counted as what it is."""

import pytest

from infra.local.audit import Fact, compare


def fact(number: int, guild_id: str = "1") -> Fact:
    return Fact("joined", guild_id, str(number), "20", None, ())


ONE, TWO, THREE, FOUR = map(fact, range(4))


def test_same_is_complete() -> None:
    comparison = compare([ONE, TWO, ONE], [ONE, TWO, ONE])
    assert comparison.complete
    assert (comparison.delivered, comparison.misplaced) == (3, 0)
    assert (comparison.guilds, comparison.exact_guilds) == (1, 1)
    assert list(comparison.describe()) == []


@pytest.mark.parametrize(
    ("found", "lost", "duplicated", "invented", "misplaced"),
    [
        ([ONE, THREE], {TWO: 1}, {}, {}, 0),
        ([], {ONE: 1, TWO: 1, THREE: 1}, {}, {}, 0),
        ([ONE, TWO, TWO, THREE], {}, {TWO: 1}, {}, 0),
        ([ONE, TWO, THREE, ONE, ONE], {}, {ONE: 2}, {}, 0),
        ([ONE, TWO, FOUR, THREE], {}, {}, {FOUR: 1}, 0),
        ([TWO, ONE, THREE], {}, {}, {}, 1),
        ([THREE, TWO, ONE], {}, {}, {}, 2),
        ([ONE, THREE, TWO], {}, {}, {}, 1),
        ([THREE, ONE, ONE], {TWO: 1}, {ONE: 1}, {}, 1),
    ],
)
def test_difference_is_named(
    found: list[Fact],
    lost: dict[Fact, int],
    duplicated: dict[Fact, int],
    invented: dict[Fact, int],
    misplaced: int,
) -> None:
    comparison = compare([ONE, TWO, THREE], found)
    assert comparison.lost == lost
    assert comparison.duplicated == duplicated
    assert comparison.invented == invented
    assert comparison.misplaced == misplaced
    assert comparison.complete is not bool(lost or duplicated or invented)
    assert comparison.exact_guilds == 0
    assert bool(list(comparison.describe())) is not comparison.complete


def test_order_counts_within_guild() -> None:
    elsewhere = fact(1, guild_id="2")
    comparison = compare([ONE, TWO, elsewhere], [elsewhere, ONE, TWO])
    assert comparison.misplaced == 0
    assert (comparison.guilds, comparison.exact_guilds) == (2, 2)


def test_repeated_event_lost_once() -> None:
    comparison = compare([ONE, TWO, ONE], [ONE, TWO])
    assert (comparison.lost, comparison.delivered) == ({ONE: 1}, 2)


def test_sum_counts_both() -> None:
    elsewhere = fact(1, guild_id="2")
    comparison = compare([ONE, TWO], [TWO, ONE]) + compare([elsewhere], [])
    assert (comparison.misplaced, comparison.lost) == (1, {elsewhere: 1})
    assert (comparison.delivered, comparison.guilds, comparison.exact_guilds) == (2, 2, 0)

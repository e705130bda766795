"""Identifiers that are unique and sort by time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.ulid import UlidFactory, milliseconds_of


@given(st.lists(st.integers(0, 2**48 - 2), min_size=2, max_size=200))
def test_ascend_though_clock_steps_back(times: list[int]) -> None:
    new_id = UlidFactory()
    made = [new_id(time) for time in times]
    assert made == sorted(set(made))


@given(st.integers(0, 2**48 - 1))
def test_carry_their_time(time: int) -> None:
    assert milliseconds_of(UlidFactory()(time)) == time


@given(st.integers(0, 2**79 - 1))
def test_count_up_within_millisecond(bits: int) -> None:
    """Each is the one before it and one more, also where more than the last characters change."""
    new_id = UlidFactory(random_bits=lambda: bits)
    numbers = [_parse(new_id(7)) for _ in range(1_100)]
    first = 7 << 80 | bits
    assert numbers == list(range(first, first + 1_100))


def _parse(ulid: str) -> int:
    number = 0
    for character in ulid:
        number = number << 5 | "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(character)
    return number


def test_overflow_into_next_millisecond() -> None:
    new_id = UlidFactory(random_bits=lambda: 2**80 - 1)
    first = new_id(5)
    new_id._bits = 2**80 - 1
    assert new_id(5) > first
    assert milliseconds_of(new_id(5)) == 6


def test_parse_example_of_specification() -> None:
    # https://github.com/ulid/spec: 01ARZ3NDEKTSV4RRFFQ69G5FAV is from 2016-07-30T23:54:10.259Z
    assert milliseconds_of("01ARZ3NDEKTSV4RRFFQ69G5FAV") == 1469922850259


def test_refuse_wrong_length() -> None:
    with pytest.raises(ValueError, match="26"):
        milliseconds_of("01ARZ3")

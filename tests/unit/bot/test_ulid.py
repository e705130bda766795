"""Identifiers that are unique and sort by time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.ulid import UlidFactory, milliseconds_of


@given(st.lists(st.integers(0, 2**48 - 2), min_size=2, max_size=200))
def test_ascend_strictly_even_when_the_clock_steps_back(times: list[int]) -> None:
    new_id = UlidFactory()
    made = [new_id(time) for time in times]
    assert made == sorted(set(made))


@given(st.integers(0, 2**48 - 1))
def test_carry_the_time_they_were_made_for(time: int) -> None:
    assert milliseconds_of(UlidFactory()(time)) == time


def test_go_on_into_the_next_millisecond_when_one_is_used_up() -> None:
    new_id = UlidFactory(chance=lambda: 2**80 - 1)
    first = new_id(5)
    new_id._bits = 2**80 - 1
    assert new_id(5) > first
    assert milliseconds_of(new_id(5)) == 6


def test_match_the_example_of_the_specification_in_form() -> None:
    # https://github.com/ulid/spec: 01ARZ3NDEKTSV4RRFFQ69G5FAV is of 2016-07-30T23:54:10.259Z
    assert milliseconds_of("01ARZ3NDEKTSV4RRFFQ69G5FAV") == 1469922850259


def test_refuse_what_is_no_ulid() -> None:
    with pytest.raises(ValueError, match="26"):
        milliseconds_of("01ARZ3")

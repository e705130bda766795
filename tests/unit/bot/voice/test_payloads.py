"""What is read from a payload, whatever is in it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bot.voice.occupancy import FLAGS
from bot.voice.payloads import parse_flags

VALUES = st.sampled_from([True, False, None, 0, 1, 2, "", "yes", [], ["x"], {}, {"a": 1}])


@given(st.dictionaries(st.sampled_from(FLAGS), VALUES))
def test_flag_is_on_if_truthy(state: dict[str, Any]) -> None:
    """Absent, null or of a wrong type, a flag is off unless it says otherwise, and costs no other flag."""
    flags = parse_flags(state)
    assert {name for bit, name in enumerate(FLAGS) if flags >> bit & 1} == {
        name for name, value in state.items() if value
    }


@given(st.fixed_dictionaries(dict.fromkeys(FLAGS, st.booleans())))
def test_flags_are_read_as_sent(state: dict[str, bool]) -> None:
    assert parse_flags(state) == sum(1 << bit for bit, name in enumerate(FLAGS) if state[name])

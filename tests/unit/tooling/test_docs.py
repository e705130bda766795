"""What infra/README.md takes from the templates and the price list is what they say now."""

import pytest

from tooling.docs import README, fill, render_parameters


def test_its_tables_are_in_step() -> None:
    """``make docs`` writes them anew."""
    text = README.read_text(encoding="utf-8")
    assert fill(text) == text


def test_a_table_without_a_place_is_missed() -> None:
    with pytest.raises(LookupError, match=r"no place for: .*parameters of relay\.yaml"):
        fill("nothing")


def test_a_parameter_says_whether_it_must_be_given() -> None:
    parameters = {
        "Must": {"Description": "given"},
        "May": {"Default": "", "Description": "left out | or not"},
        "Has": {"Default": 3, "Description": "a number"},
    }
    assert list(render_parameters({"Parameters": parameters}))[2:] == [
        "| `Must` | required | given |",
        "| `May` | empty | left out \\| or not |",
        "| `Has` | `3` | a number |",
    ]

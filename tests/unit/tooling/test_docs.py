"""The generated tables in infra/README.md are up to date."""

import pytest

from tooling.docs import README, fill, render_parameters


def test_tables_are_up_to_date() -> None:
    """If this fails, run ``make docs``."""
    text = README.read_text(encoding="utf-8")
    assert fill(text) == text


def test_reports_table_without_place() -> None:
    with pytest.raises(LookupError, match=r"no place for: .*parameters of relay\.yaml"):
        fill("nothing")


def test_shows_required_and_default() -> None:
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

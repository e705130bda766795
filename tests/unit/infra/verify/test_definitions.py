"""The definitions of a verification's own workflows are sound, and need what they try."""

import pytest

from infra.verify.removal import BRIEF, CALL
from infra.verify.site import PROBE
from infra.verify.stand import load


@pytest.mark.parametrize(
    ("name", "needs"),
    [(PROBE, {"posts", "acts", "waits"}), (BRIEF, {"acts"}), (CALL, {"calls"})],
)
def test_definition_needs_what_it_tries(name: str, needs: set[str]) -> None:
    workflow = load(name)

    assert workflow.definition.needs == needs
    assert (workflow.connection is not None) == ("calls" in needs)

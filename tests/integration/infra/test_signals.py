"""Signals through the ingress: who may send them, what they do once, and what a late one is told."""

from tests.integration.infra.relay import Relay
from tests.integration.infra.waiting import ALICE, outcome, start_waiting

FORBIDDEN = (403, b'{"message":"Forbidden"}')
BOB = {"kind": "user", "id": "41771983423143937", "roles": ["7"], "permissions": "16777216"}


def test_signal_ends_the_wait(relay: Relay) -> None:
    waiting = start_waiting(relay)

    assert outcome(waiting.signal(data={"note": "welcome"})) == {"outcome": "signalled"}

    result = waiting.output()
    assert result.pop("at").endswith("Z")
    assert result == {
        "signal": "admit",
        "data": {"note": "welcome"},
        "by": {"kind": "user", "id": ALICE["id"]},
    }

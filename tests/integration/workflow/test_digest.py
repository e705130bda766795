"""The digest workflow on the embedded AWS, its delay skipped, against a webhook that answers and refuses."""

import json
from typing import Any

import pytest

from tests.integration.workflow.running import Ended, Relay
from tooling.costs import DIGEST

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHEN = "2026-11-21T07:00:00.123Z"


def event(kind: str, who: str) -> dict[str, Any]:
    user = {"id": who, "name": "**nelly**", "display_name": "@everyone", "bot": False}
    return {"type": f"discord.voice.{kind}", "time": WHEN, "data": {"user": user, "inferred": False}}


EVENTS = (event("joined", "1"), event("joined", "2"), event("left", "1"))


async def _digest(relay: Relay, destination: str = "default") -> Ended:
    return await relay.run(*EVENTS, destination=destination, workflow="digest")


async def test_batch_takes_one_silent_message(hasty_relay: Relay) -> None:
    ended = await _digest(hasty_relay)

    assert ended.status == "SUCCEEDED"
    assert ended.entered == ["WaitForQuiet", "Post"]
    # What the table of costs is made from.
    assert (len(ended.entered), hasty_relay.webhook.answers.total()) == (DIGEST.states, DIGEST.posts)
    assert ended.output == {
        "posted": 3,
        "joined": 2,
        "left": 1,
        "moved": 0,
        "updated": 0,
        "gaps": 0,
        "people": 2,
    }
    (message,) = hasty_relay.webhook.messages
    (embed,) = message.body["embeds"]
    assert embed["description"] == "📊 2 joined · 1 left, by 2 people\nAt <t:1795244400:f>"
    assert message.body["flags"] == 1 << 12
    assert "nelly" not in message.raw.decode()
    assert "everyone" not in message.raw.decode()


async def test_429_is_waited_out(hasty_relay: Relay) -> None:
    hasty_relay.webhook.throttle_next(2, 0.3)

    ended = await _digest(hasty_relay)

    assert ended.status == "SUCCEEDED"
    assert ended.output["posted"] == 3
    assert hasty_relay.webhook.answers == {429: 2, 200: 1}
    assert ended.entered.count("WaitForDiscord") == 2
    assert ended.entered.count("WaitForQuiet") == 1


@pytest.mark.parametrize(("status", "times"), [(404, 1), (503, 31)])
async def test_failure_is_the_tasks_own(status: int, times: int, hasty_relay: Relay) -> None:
    hasty_relay.webhook.fail_next(times, status, {"message": "no", "code": 0})

    ended = await _digest(hasty_relay)

    assert (ended.status, ended.error) == ("FAILED", f"ApiGateway.{status}")
    assert ended.entered == ["WaitForQuiet", "Post"]
    assert hasty_relay.webhook.answers == {status: times}


async def test_unknown_destination_is_refused(hasty_relay: Relay) -> None:
    ended = await _digest(hasty_relay, destination="elsewhere")

    assert (ended.status, ended.error) == ("FAILED", "ApiGateway.404")


async def test_history_never_shows_webhook(hasty_relay: Relay) -> None:
    ended = await _digest(hasty_relay)

    assert hasty_relay.webhook.token not in json.dumps([ended.history, ended.output], default=str)

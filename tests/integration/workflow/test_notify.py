"""The notify workflow against a webhook that answers, throttles, fails and refuses."""

import json
from typing import Any

import pytest

from tests.integration.workflow.running import Relay
from tooling.costs import NOTIFY

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHEN = "2026-11-21T07:00:00.123Z"
HTML = "<!DOCTYPE html><html><head><title>Access denied</title></head><body>error code: 1015</body></html>"


def voice(kind: str, **data: Any) -> dict[str, Any]:
    channel = {"id": "127121515262115840", "name": "@everyone", "kind": "voice"}
    user = {"id": "80351110224678912", "name": "**nelly**", "display_name": None, "bot": False}
    shared = {
        "user": user,
        "channel": channel,
        "previous_channel": channel,
        "occupants": 2,
        "inferred": False,
    }
    return {"type": f"discord.voice.{kind}", "time": WHEN, "data": shared | data}


JOINED = voice("joined")
EVERY_KIND = (
    voice("joined"),
    voice("left", duration_s=4320.0),
    voice("moved", duration_s=None, inferred=True),
    voice("updated", changes={"self_mute": True}),
    {"type": "discord.voice.gap", "time": WHEN, "data": {"from": None, "until": WHEN, "reason": "restart"}},
)


async def test_every_kind_takes_one_message(relay: Relay) -> None:
    ended = await relay.run(*EVERY_KIND)
    assert ended.status == "SUCCEEDED"
    assert ended.output == {"posted": 5}
    assert ended.entered == ["Post"]
    assert relay.webhook.answers == {200: 1}
    # What the table of costs is made from.
    assert (len(ended.entered), relay.webhook.answers.total()) == (NOTIFY.states, NOTIFY.posts)
    (message,) = relay.webhook.messages
    description = message.body["embeds"][0]["description"]
    *voice_lines, gap_line = description.split("\n")
    assert [line.split(" ")[1] for line in voice_lines] == ["🟢", "🔴", "🔵", "🟡"]
    assert gap_line.startswith("⚠️ Not watching until ")
    assert "nelly" not in message.raw.decode()
    assert "everyone" not in message.raw.decode()


async def test_429_waits_its_retry_after(relay: Relay) -> None:
    relay.webhook.throttle_next(1, 2.4)
    ended = await relay.run(JOINED)
    assert ended.status == "SUCCEEDED"
    assert relay.webhook.answers == {429: 1, 200: 1}
    assert len(relay.webhook.messages) == 1
    assert ended.entered == ["Post", "WaitForDiscord", "Post"]
    (waited_s,) = ended.seconds_between("WaitStateEntered", "WaitStateExited")
    # A millisecond is what the history's clock may cut off.
    assert waited_s >= 2.4 * relay.scale - 0.001


@pytest.mark.parametrize(
    "body", [HTML, {"message": "Too Many Requests"}, ""], ids=["html", "gateway", "empty"]
)
async def test_429_without_time_waits_five_seconds(body: object, relay: Relay) -> None:
    """Cloudflare answers in HTML, and API Gateway throttles as well."""
    relay.webhook.fail_next(1, 429, body)
    ended = await relay.run(JOINED)
    assert ended.status == "SUCCEEDED"
    assert relay.webhook.answers == {429: 1, 200: 1}
    (waited_s,) = ended.seconds_between("WaitStateEntered", "WaitStateExited")
    assert waited_s >= 5 * relay.scale - 0.001


async def test_every_429_is_waited_out(relay: Relay) -> None:
    relay.webhook.throttle_next(3, 0.3)
    ended = await relay.run(JOINED)
    assert ended.status == "SUCCEEDED"
    assert relay.webhook.answers == {429: 3, 200: 1}
    assert ended.entered.count("WaitForDiscord") == 3


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_server_error_is_retried(status: int, relay: Relay) -> None:
    relay.webhook.fail_next(1, status, {"message": "Internal Server Error", "code": 0})
    ended = await relay.run(JOINED)
    assert ended.status == "SUCCEEDED"
    assert relay.webhook.answers == {status: 1, 200: 1}
    assert ended.entered == ["Post"]
    assert ended.attempts == 2


async def test_broken_connection_is_retried(relay: Relay) -> None:
    relay.webhook.fail_next(1, None)
    ended = await relay.run(JOINED)
    assert ended.status == "SUCCEEDED"
    assert relay.webhook.answers == {None: 1, 200: 1}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"message": "Invalid Form Body", "code": 50035}),
        (401, {"message": "Invalid Webhook Token", "code": 50027}),
        (403, HTML),
        (404, {"message": "Unknown Webhook", "code": 10015}),
    ],
)
async def test_refusal_fails_after_one_request(status: int, body: object, relay: Relay) -> None:
    """Repeated calls to a webhook that is gone would earn a restriction."""
    # https://docs.discord.com/developers/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans
    relay.webhook.fail_next(1, status, body)
    ended = await relay.run(JOINED)
    assert (ended.status, ended.error) == ("FAILED", f"ApiGateway.{status}")
    assert ended.cause == (body if isinstance(body, str) else json.dumps(body, separators=(",", ":")))
    assert relay.webhook.answers == {status: 1}
    assert ended.entered == ["Post"]


async def test_redrive_posts_refused_message(relay: Relay) -> None:
    """The state that failed is the one that posts, so its repetition posts."""
    relay.webhook.fail_next(1, 404, {"message": "Unknown Webhook", "code": 10015})
    refused = await relay.run(JOINED)
    redriven = await relay.redrive(refused)
    assert (refused.status, redriven.status) == ("FAILED", "SUCCEEDED"), redriven.error
    assert relay.webhook.answers == {404: 1, 200: 1}
    assert len(relay.webhook.messages) == 1


async def test_unknown_destination_is_refused(relay: Relay) -> None:
    ended = await relay.run(JOINED, destination="elsewhere")
    assert (ended.status, ended.error) == ("FAILED", "ApiGateway.404")
    assert relay.webhook.answers == {}


async def test_impossible_input_fails_by_name(relay: Relay) -> None:
    ended = await relay.run(JOINED, destination={"not": "a name"})
    assert (ended.status, ended.error) == ("FAILED", "States.QueryEvaluationError")
    assert relay.webhook.answers == {}


async def test_history_never_shows_webhook(relay: Relay) -> None:
    """Not when it works, and not in the cause of a failure."""
    relay.webhook.throttle_next(1, 0.1)
    good = await relay.run(JOINED)
    relay.webhook.fail_next(1, 404, {"message": "Unknown Webhook", "code": 10015})
    bad = await relay.run(JOINED)
    for ended in (good, bad):
        shown = json.dumps([ended.history, ended.output, ended.cause], default=str)
        assert "Unknown Webhook" in shown or ended is good
        assert relay.webhook.token not in shown
        assert relay.webhook.url not in shown


async def test_largest_input_is_posted(relay: Relay) -> None:
    """Also when it was throttled on the way: the events then come from the execution's input."""
    # 262,144 bytes, https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    count = 255_000 // (len(json.dumps(JOINED)) + 2)
    relay.webhook.throttle_next(1, 0.1)
    ended = await relay.run(*[JOINED] * count)
    assert ended.status == "SUCCEEDED", (ended.error, ended.cause)
    (message,) = relay.webhook.messages
    assert message.body["embeds"][-1]["description"].endswith(" more")


async def test_long_throttle_is_waited_out(hasty_relay: Relay) -> None:
    """Nothing counts the waits: the execution's own time-out ends them, and that can be redriven."""
    hasty_relay.webhook.throttle_next(150, 0.5)
    ended = await hasty_relay.run(JOINED)
    assert ended.status == "SUCCEEDED"
    assert hasty_relay.webhook.answers == {429: 150, 200: 1}
    assert len(ended.history) < 8 * 151


async def test_endless_server_error_is_given_up(hasty_relay: Relay) -> None:
    hasty_relay.webhook.fail_next(31, 503, "upstream connect error")
    ended = await hasty_relay.run(JOINED)
    assert (ended.status, ended.error) == ("FAILED", "ApiGateway.503")
    assert ended.cause == "upstream connect error"
    assert hasty_relay.webhook.answers == {503: 31}

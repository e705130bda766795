"""Twenty thousand transitions at once, through the real program."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from botocore.credentials import ReadOnlyCredentials

from bot.voice.events import EVENT
from infra.local.audit import audit
from infra.local.discord import StandIn
from tests.support.crowd import UNFOLLOWED, add_guilds, wander_all
from tests.support.ingress import StubIngress
from tests.support.process import CREDENTIALS
from tests.support.relay_between import relay_between
from tests.support.signatures import parse_signed_headers, recompute_authorization

GUILDS = 20
TRANSITIONS = 20_000
SAMPLED = 50
KEY = ReadOnlyCredentials(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], None)


@dataclass
class Sample:
    """Requests as they arrived: method, path, headers and body."""

    requests: list[tuple[str, str, Mapping[str, str], bytes]]

    async def take(self, request: web.BaseRequest) -> None:
        self.requests.append((request.method, request.raw_path, request.headers, await request.read()))


async def test_burst_arrives_exactly(standin: StandIn, api: StubIngress, tmp_path: Path) -> None:
    """Nothing is lost, doubled, changed or out of order, and every request is signed."""
    guilds = add_guilds(standin, GUILDS)
    (tmp_path / "rules.toml").write_text(UNFOLLOWED)
    sample = Sample([])
    api.answers.extend([sample.take] * SAMPLED)
    async with relay_between(tmp_path, standin, api, RULES_FILE="rules.toml", LOG_LEVEL="warning") as relay:
        steps = TRANSITIONS * 11 // (10 * GUILDS)
        await wander_all(guilds, steps, random.Random(7))
        sent = list(standin.sent)
        assert len(sent) >= TRANSITIONS
        await api.wait_for_events(len(sent))
        relay.terminate()
        assert await relay.wait() == 0
    events = api.events()
    assert standin.counts["identified"] == 1
    assert len({event["id"] for event in events}) == len(events) == len(sent)
    found = audit(sent, events, stretches=[])
    assert found.faults == []
    assert (found.seen, found.comparison.exact_guilds) == (len(sent), GUILDS)
    for event in events[:: len(events) // 200]:
        EVENT.validate_python(event)
    assert len(sample.requests) == SAMPLED
    for method, path, headers, body in sample.requests:
        theirs = recompute_authorization(
            method, api.endpoint + path, headers, body, KEY, region=CREDENTIALS["AWS_DEFAULT_REGION"]
        )
        assert headers["Authorization"] == theirs
        assert set(parse_signed_headers(theirs)) == {"content-type", "execution-name", "host", "x-amz-date"}

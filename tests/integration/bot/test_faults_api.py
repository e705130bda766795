"""Faults of the ingress API, and an exact account of what it receives in spite of them."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from bot.delivery.circuit_breaker import FAILURES_TO_OPEN
from bot.outbox.database import open_database
from bot.outbox.store import Store
from infra.local.discord import Guild, StandIn
from infra.local.faulty_proxy import Fault, FaultyProxy
from tests.support.crowd import EVERYTHING, add_guilds, check_told, wander
from tests.support.ingress import ARN
from tests.support.ledger import Ledger
from tests.support.relaying import relaying

GUILDS, STEPS = 3, 6
SHARE = 0.35
"""The share of requests that a fault hits."""


class Api(Ledger):
    """Answers a share of the requests with ``answer``, at most ``times``, and records every attempt.

    An accepted execution has ended at once: its name is refused from then on, as Step Functions does.
    """

    def __init__(self, seed: int = 5) -> None:
        super().__init__()
        self.answer: Callable[[], web.Response] | None = None
        self.times = 1_000_000
        self.faults = 0
        self.attempted_at: dict[str, list[float]] = defaultdict(list)
        self._dice = random.Random(seed)

    def accept(self, name: str, body: bytes) -> web.Response:
        self.attempted_at[name].append(time.monotonic())
        if self.answer is not None and self.faults < self.times and self._dice.random() < SHARE:
            self.attempts[name].append(body)
            self.faults += 1
            self.changed.set()
            return self.answer()
        if name in self.executions:
            self.attempts[name].append(body)
            self.repeats += 1
            kind = "com.amazonaws.swf.service.v2.model#ExecutionAlreadyExists"
            message = f"Execution Already Exists: '{ARN}{name}'"
            return web.json_response({"__type": kind, "message": message}, status=400)
        return super().accept(name, body)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make backoff and timeouts a hundred times shorter."""
    monkeypatch.setattr("bot.backoff.BASE_S", 0.002)
    monkeypatch.setattr("bot.backoff.CAP_S", 0.05)
    monkeypatch.setattr("bot.api.client.TIMEOUT_S", 0.3)


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn() as standin:
        yield standin


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with Api() as api:
        yield api


@pytest.fixture
def guilds(standin: StandIn) -> list[Guild]:
    return add_guilds(standin, GUILDS)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(EVERYTHING)
    return path


async def stroll(
    standin: StandIn, guilds: Sequence[Guild], api: Api, enough: Callable[[], bool], limit: int = 200
) -> None:
    """Let people move, a few steps each time the last have been delivered, until it was *enough*."""
    for turn in range(limit):
        dice = [random.Random(100 * turn + number) for number in range(len(guilds))]
        await asyncio.gather(*(wander(guild, STEPS, die) for guild, die in zip(guilds, dice, strict=True)))
        await api.wait_until(lambda: api.event_count >= len(standin.sent))
        if enough():
            return
    raise AssertionError("the fault occurred too rarely to show anything")


def check(standin: StandIn, api: Api, directory: Path) -> None:
    """Check that every transition was delivered once and in order, and that nothing waits or is dead."""
    assert check_told(standin, api).seen == len(standin.sent)
    with closing(Store(open_database(directory / "data"))) as store:
        assert (store.waiting, store.count_dead_letters(), store.open_batches()) == (0, 0, [])


def _answer(status: int, message: str, **more: Any) -> Callable[[], web.Response]:
    return lambda: web.json_response({"message": message, **more}, status=status)


def _page(status: int) -> Callable[[], web.Response]:
    """Answer as a proxy in between does: in HTML."""
    page = f"<html><h1>{status}</h1></html>"
    return lambda: web.Response(text=page, content_type="text/html", status=status)


ANSWERS = {
    "500": _answer(500, "Internal Server Error"),
    "502": _page(502),
    "503": _answer(503, "Service Unavailable"),
    "504": _answer(504, "Endpoint request timed out"),
    "429": _answer(429, "Too Many Requests"),
    "400 ThrottlingException": _answer(
        400, "Rate exceeded", __type="com.amazon.coral.availability#ThrottlingException"
    ),
    "400 ExecutionLimitExceeded": _answer(
        400, "too many", __type="com.amazonaws.swf.service.v2.model#ExecutionLimitExceeded"
    ),
    "404 before deployment": _answer(404, "Not Found"),
    "200 in HTML": _page(200),
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_temporary_answer_loses_nothing(
    standin: StandIn, guilds: list[Guild], api: Api, tmp_path: Path, rules: Path, answer: str
) -> None:
    api.answer = ANSWERS[answer]
    async with relaying(tmp_path, standin, api.endpoint, rules_file=rules, batch_max_events=5):
        await stroll(standin, guilds, api, lambda: api.faults >= 15)
    check(standin, api, tmp_path)
    assert api.attempt_count == api.faults + len(api.executions)


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_waits_for_retry_after(
    standin: StandIn, guilds: list[Guild], api: Api, tmp_path: Path, rules: Path, form: str
) -> None:
    """A batch is not sent again before the seconds, or the date, in Retry-After."""
    retry_at: dict[str, float] = {}

    def answer() -> web.Response:
        name = max(api.attempted_at, key=lambda name: api.attempted_at[name][-1])
        when = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
        wait_s = 1.0 if form == "seconds" else (when - datetime.now(UTC)).total_seconds()
        retry_at[name] = time.monotonic() + wait_s
        value = "1" if form == "seconds" else format_datetime(when, usegmt=True)
        return web.json_response({"message": "Too Many Requests"}, status=429, headers={"Retry-After": value})

    api.answer, api.times = answer, 2
    async with relaying(tmp_path, standin, api.endpoint, rules_file=rules):
        await stroll(standin, guilds, api, lambda: api.faults == 2)
    check(standin, api, tmp_path)
    for name, at in retry_at.items():
        # Both ends read the same clock, at slightly different times.
        assert api.attempted_at[name][-1] >= at - 0.02


BROKEN: dict[Fault, int] = {
    "reset_before": 15,
    "reset_during": 15,
    "reset_after": 15,
    "cut_answer": 15,
    "swallow_request": 4,
    "swallow_answer": 4,
}
"""How often each fault is to happen; the silent ones take as long as the timeout."""


@pytest.mark.parametrize("fault", BROKEN)
async def test_broken_connection_loses_nothing(
    standin: StandIn, guilds: list[Guild], api: Api, tmp_path: Path, rules: Path, fault: Fault
) -> None:
    """The relay cannot know whether a request arrived: it sends it again, under the same name."""
    dice, times = random.Random(3), BROKEN[fault]

    def choose_fault() -> Fault | None:
        return fault if proxy.faults[fault] < times and dice.random() < SHARE else None

    async with (
        FaultyProxy(api.endpoint, choose_fault) as proxy,
        relaying(tmp_path, standin, proxy.url, rules_file=rules, batch_max_events=5),
    ):
        await stroll(standin, guilds, api, lambda: proxy.faults[fault] == times)
    check(standin, api, tmp_path)
    accepted = fault in ("reset_after", "cut_answer", "swallow_answer")
    # Each execution has succeeded by the first poll that arrives.
    polled_again = api.polls - len(api.executions)
    assert api.repeats + polled_again == (times if accepted else 0)


async def test_failing_dns_loses_nothing(
    standin: StandIn,
    guilds: list[Guild],
    api: Api,
    tmp_path: Path,
    rules: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The host name resolves only after a while."""
    lookups = 0

    class Resolver(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
            nonlocal lookups
            assert host == "api.relay.invalid"
            lookups += 1
            if lookups <= 10:
                raise OSError(None, "Domain name not found")
            return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=2, proto=0, flags=0)]

        async def close(self) -> None:
            pass

    connector = aiohttp.TCPConnector
    monkeypatch.setattr(
        "bot.api.client.aiohttp.TCPConnector", lambda **options: connector(**options, resolver=Resolver())
    )
    endpoint = f"http://api.relay.invalid:{api.endpoint.rpartition(':')[2]}"
    async with relaying(tmp_path, standin, endpoint, rules_file=rules):
        await stroll(standin, guilds, api, lambda: lookups > 10)
    check(standin, api, tmp_path)


@pytest.mark.parametrize(("off_s", "words"), [(600, "behind the API's"), (-600, "ahead of the API's")])
async def test_wrong_clock_is_reported(
    standin: StandIn, guilds: list[Guild], api: Api, tmp_path: Path, rules: Path, off_s: int, words: str
) -> None:
    """The API refuses every signature for a while, and its Date header shows why; nothing is lost."""

    def answer() -> web.Response:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=off_s), usegmt=True)
        return web.json_response({"message": "Forbidden"}, status=403, headers={"Date": date})

    reasons: list[str] = []
    api.answer, api.times = answer, 20
    async with relaying(tmp_path, standin, api.endpoint, rules_file=rules) as relay:
        walking = asyncio.create_task(stroll(standin, guilds, api, lambda: api.faults == 20))
        while not walking.done():
            reasons += relay.not_ready()
            await asyncio.wait([walking], timeout=0.002)
        await walking
        assert relay.not_ready() == []
    check(standin, api, tmp_path)
    said = {reason for reason in reasons if "clock is" in reason}
    assert said
    assert all(words in reason and "NTP" in reason for reason in said)


async def test_failing_batch_delays_no_other_guild(
    standin: StandIn, guilds: list[Guild], api: Api, tmp_path: Path, rules: Path
) -> None:
    """A batch that always fails makes the endpoint look down, and must not be the only probe of it."""
    sick, *others = guilds
    mended = False

    async def fail_the_sick(request: web.BaseRequest) -> web.StreamResponse | None:
        api.answers.append(fail_the_sick)
        body = await request.read()
        if mended or f'"/discord/guilds/{sick.id}"'.encode() not in body:
            return None
        api.attempts[request.headers["Execution-Name"]].append(body)
        api.changed.set()
        return web.json_response({"message": "Internal Server Error"}, status=500)

    api.answers.append(fail_the_sick)
    async with relaying(tmp_path, standin, api.endpoint, rules_file=rules):
        for turn in range(3):
            await wander(sick, 1, random.Random(turn))
            await api.wait_for_attempts(api.attempt_count + 2 * FAILURES_TO_OPEN)
            delivered = api.event_count
            for guild in others:
                await wander(guild, 1, random.Random(turn))
            await api.wait_until(lambda delivered=delivered: api.event_count == delivered + len(others))  # type: ignore[misc]
        mended = True
    check(standin, api, tmp_path)

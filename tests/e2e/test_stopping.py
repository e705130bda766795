"""SIGTERM and SIGINT stop the relay gracefully; a second one ends it at once."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from infra.local.audit import parse_event, parse_transition
from infra.local.discord import StandIn
from tests.support.crowd import add_guilds, first_channel, people_of
from tests.support.ledger import Ledger
from tests.support.relay_between import relay_between

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture
async def api() -> AsyncIterator[Ledger]:
    async with Ledger() as api:
        yield api


class Gate:
    """Holds requests that have arrived until it is opened."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.opened = asyncio.Event()

    async def hold(self, _: web.BaseRequest) -> None:
        self.arrived.set()
        await self.opened.wait()


@pytest.mark.parametrize("number", SIGNALS)
async def test_signal_stops_idle_relay(
    standin: StandIn, api: Ledger, tmp_path: Path, number: signal.Signals
) -> None:
    add_guilds(standin, 1)
    async with relay_between(tmp_path, standin, api) as relay:
        relay.send_signal(number)
        assert await relay.wait(10) == 0
    assert relay.log("signal_received")[0]["signal"] == number.name
    assert relay.log()[-1]["event"] == "stopped"


@pytest.mark.parametrize("number", SIGNALS)
async def test_signal_waits_for_request(
    standin: StandIn, api: Ledger, tmp_path: Path, number: signal.Signals
) -> None:
    """The request in flight is waited for; what happens after the signal is replayed to the next process."""
    (guild,) = add_guilds(standin, 1)
    first, second, *_ = people_of(guild)
    channel = first_channel(guild)
    gate = Gate()
    api.answers.append(gate.hold)
    async with relay_between(tmp_path, standin, api) as relay:
        await guild.join(first, channel)
        await gate.arrived.wait()
        relay.send_signal(number)
        await standin.wait_disconnected(10)
        await guild.join(second, channel)
        assert relay.exit_code is None
        gate.opened.set()
        assert await relay.wait(10) == 0
    assert list(map(parse_event, api.events())) == [parse_transition(standin.sent[0])]
    async with relay_between(tmp_path, standin, api) as relay:
        await api.wait_for_events(2)
    api.check()
    (name, *_), events = api.attempts, api.events()
    assert len(api.attempts[name]) == 1, "the first process has seen its answer"
    assert list(map(parse_event, events)) == list(map(parse_transition, standin.sent))
    assert standin.counts["identified"] == 1


async def test_next_process_sends_again(standin: StandIn, api: Ledger, tmp_path: Path) -> None:
    (guild,) = add_guilds(standin, 1)
    gate = Gate()
    api.answers.append(gate.hold)
    async with relay_between(tmp_path, standin, api, SHUTDOWN_GRACE_S="0.2") as relay:
        await guild.join(people_of(guild)[0], first_channel(guild))
        await gate.arrived.wait()
        relay.terminate()
        assert await relay.wait(10) == 0
    gate.opened.set()
    async with relay_between(tmp_path, standin, api):
        await guild.join(people_of(guild)[1], first_channel(guild))
        await api.wait_for_events(2)
    api.check()
    assert [event["type"].rpartition(".")[2] for event in api.events()] == ["joined", "joined"]


async def test_backoff_does_not_delay_stop(standin: StandIn, api: Ledger, tmp_path: Path) -> None:
    """The API is down, so waiting out the grace would achieve nothing."""
    (guild,) = add_guilds(standin, 1)
    api.down = True
    async with relay_between(tmp_path, standin, api, SHUTDOWN_GRACE_S="60") as relay:
        await guild.join(people_of(guild)[0], first_channel(guild))
        await relay.wait_for_log("batch_retried_later")
        relay.terminate()
        # An attempt may be in flight; it is answered at once.
        assert await relay.wait(10) == 0


@pytest.mark.parametrize("number", SIGNALS)
async def test_second_signal_exits_at_once(
    standin: StandIn, api: Ledger, tmp_path: Path, number: signal.Signals
) -> None:
    """The next process sends what was in flight again, unchanged."""
    (guild,) = add_guilds(standin, 1)
    gate = Gate()
    api.answers.append(gate.hold)
    async with relay_between(tmp_path, standin, api, SHUTDOWN_GRACE_S="600") as relay:
        await guild.join(people_of(guild)[0], first_channel(guild))
        await gate.arrived.wait()
        relay.send_signal(number)
        await relay.wait_for_log("stopping")
        relay.send_signal(number)
        assert await relay.wait(5) == 128 + number
    gate.opened.set()
    async with relay_between(tmp_path, standin, api):
        await guild.join(people_of(guild)[1], first_channel(guild))
        await api.wait_for_events(2)
    api.check()
    assert api.event_count == 2


async def test_signal_stops_unconnected_relay(standin: StandIn, api: Ledger, tmp_path: Path) -> None:
    standin.faults.fail_rest(1000)
    async with relay_between(tmp_path, standin, api, connected=False) as relay:
        await relay.wait_for_log("ops_listening")
        relay.terminate()
        assert await relay.wait(10) == 0

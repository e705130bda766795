"""SIGTERM and SIGINT end the relay in good order; a second one ends it at once."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from infra.local.audit import parse_event, parse_transition
from infra.local.discord import StandIn
from tests.support.crowd import add_guilds, first_channel, people_of
from tests.support.ledger import Ledger
from tests.support.output import TOKEN, check_output
from tests.support.process import Child, start_relay

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture
async def api() -> AsyncIterator[Ledger]:
    async with Ledger() as api:
        yield api


@asynccontextmanager
async def relaying(
    standin: StandIn, api: Ledger, directory: Path, *, grace_s: float = 10.0
) -> AsyncIterator[Child]:
    async with start_relay(
        directory,
        discord_api_url=standin.api_url,
        token=TOKEN,
        api_endpoint=api.endpoint,
        settings={"SHUTDOWN_GRACE_S": str(grace_s)},
    ) as relay:
        await standin.wait_connected(20)
        yield relay
    check_output(relay)


class Gate:
    """Holds requests, once they have arrived, until it is opened."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.opened = asyncio.Event()

    async def hold(self, _: web.BaseRequest) -> None:
        self.arrived.set()
        await self.opened.wait()


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_ends_an_idle_relay_with_0(
    standin: StandIn, api: Ledger, tmp_path: Path, number: signal.Signals
) -> None:
    add_guilds(standin, 1)
    async with relaying(standin, api, tmp_path) as relay:
        relay.send_signal(number)
        assert await relay.wait(10) == 0
    assert relay.log("signal_received")[0]["signal"] == number.name
    assert relay.log()[-1]["event"] == "stopped"


@pytest.mark.parametrize("number", SIGNALS)
async def test_what_is_in_flight_comes_home_and_what_comes_later_is_left_alone(
    standin: StandIn, api: Ledger, tmp_path: Path, number: signal.Signals
) -> None:
    """The request that is out is waited for; after the signal the next process is the one that tells."""
    (guild,) = add_guilds(standin, 1)
    first, second, *_ = people_of(guild)
    channel = first_channel(guild)
    gate = Gate()
    api.answers.append(gate.hold)
    async with relaying(standin, api, tmp_path) as relay:
        await guild.join(first, channel)
        await gate.arrived.wait()
        relay.send_signal(number)
        await standin.wait_disconnected(10)
        await guild.join(second, channel)
        assert relay.exit_code is None
        gate.opened.set()
        assert await relay.wait(10) == 0
    assert list(map(parse_event, api.events())) == [parse_transition(standin.sent[0])]
    async with relaying(standin, api, tmp_path) as relay:
        await api.wait_for_events(3)
    api.check()
    (name, *_), events = api.attempts, api.events()
    assert len(api.attempts[name]) == 1, "the first process has seen its answer"
    assert [event["type"].rpartition(".")[2] for event in events] == ["joined", "gap", "joined"]
    assert events[1]["data"]["from"] is not None
    assert [event["data"]["inferred"] for event in events if "user" in event["data"]] == [False, True]


async def test_what_outlasts_the_grace_is_sent_again_by_the_next_process(
    standin: StandIn, api: Ledger, tmp_path: Path
) -> None:
    (guild,) = add_guilds(standin, 1)
    gate = Gate()
    api.answers.append(gate.hold)
    async with relaying(standin, api, tmp_path, grace_s=0.2) as relay:
        await guild.join(people_of(guild)[0], first_channel(guild))
        await gate.arrived.wait()
        relay.terminate()
        assert await relay.wait(10) == 0
    gate.opened.set()
    async with relaying(standin, api, tmp_path):
        await api.wait_for_events(2)
    api.check()
    assert [event["type"].rpartition(".")[2] for event in api.events()] == ["joined", "gap"]


async def test_what_waits_for_its_next_attempt_does_not_hold_up_the_end(
    standin: StandIn, api: Ledger, tmp_path: Path
) -> None:
    """The API is down: the grace would be spent for nothing."""
    (guild,) = add_guilds(standin, 1)
    api.down = True
    async with relaying(standin, api, tmp_path, grace_s=60) as relay:
        await guild.join(people_of(guild)[0], first_channel(guild))
        await relay.wait_for_log("batch_retried_later")
        relay.terminate()
        # An attempt may just be on its way; it is answered at once.
        assert await relay.wait(10) == 0


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_second_signal_ends_it_at_once(
    standin: StandIn, api: Ledger, tmp_path: Path, number: signal.Signals
) -> None:
    """What it had in flight goes out again, the same, from the next process."""
    (guild,) = add_guilds(standin, 1)
    gate = Gate()
    api.answers.append(gate.hold)
    async with relaying(standin, api, tmp_path, grace_s=600) as relay:
        await guild.join(people_of(guild)[0], first_channel(guild))
        await gate.arrived.wait()
        relay.send_signal(number)
        await relay.wait_for_log("stopping")
        relay.send_signal(number)
        assert await relay.wait(5) == 128 + number
    gate.opened.set()
    async with relaying(standin, api, tmp_path):
        await api.wait_for_events(2)
    api.check()
    assert api.event_count == 2


async def test_a_signal_while_discord_is_out_of_reach_ends_it_too(
    standin: StandIn, api: Ledger, tmp_path: Path
) -> None:
    standin.faults.fail_rest(1000)
    async with start_relay(
        tmp_path, discord_api_url=standin.api_url, token=TOKEN, api_endpoint=api.endpoint
    ) as relay:
        await relay.wait_for_log("ops_listening")
        relay.terminate()
        assert await relay.wait(10) == 0
    check_output(relay)

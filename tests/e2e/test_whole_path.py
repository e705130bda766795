"""From a voice channel to a message: the real program and templates, and an AWS that checks who asks."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pydantic
import pytest

from bot.outbox.inspection import open_inspection
from infra.local.discord import StandIn, Transition, Webhook
from infra.local.machine import SingleMachine, single_machine
from tests.support.crowd import EVERYTHING, add_guilds, join_one, wander
from tests.support.output import TOKEN, check_output
from tests.support.process import Child, start_relay
from tests.support.process_tree import find_descendants, has_proc, is_running, wait_until_all_ended

STEPS = 60
SECRET = "a-secret-that-opens-nothing-0123456789abcd"


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    """Discord without a rate limit on webhooks, which other tests cover."""
    async with StandIn(token=TOKEN, webhook_limit=None) as standin:
        yield standin


@pytest.fixture
def webhook(standin: StandIn) -> Webhook:
    return standin.add_webhook("voice")


@pytest.fixture
async def machine(webhook: Webhook) -> AsyncIterator[SingleMachine]:
    async with single_machine(webhook_url=pydantic.SecretStr(webhook.url)) as machine:
        yield machine


def keys_of(machine: SingleMachine, secret: str | None = None) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": machine.credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": secret or machine.credentials.secret_access_key,
        "AWS_DEFAULT_REGION": machine.region,
    }


def say(happened: Transition) -> str:
    """Return the words of a transition that its line in the channel cannot do without."""
    words = {
        "joined": f"joined <#{happened.channel_id}>",
        "left": f"left <#{happened.previous_channel_id}>",
        "moved": f"moved from <#{happened.previous_channel_id}> to <#{happened.channel_id}>",
        "updated": f"in <#{happened.channel_id}>",
    }
    return f"<@{happened.user_id}> … {words[happened.kind]}"


def read_lines(webhook: Webhook) -> Iterator[str]:
    for message in webhook.messages:
        assert message.body["allowed_mentions"] == {"parse": []}
        for embed in message.body["embeds"]:
            yield from embed["description"].split("\n")


def _has_lines(webhook: Webhook, count: int) -> Callable[[object], bool]:
    return lambda _: len(list(read_lines(webhook))) >= count


def says(line: str, words: str) -> bool:
    who, _, what = words.partition(" … ")
    return who in line and what in line


async def test_every_transition_has_its_line(
    standin: StandIn, webhook: Webhook, machine: SingleMachine, tmp_path: Path
) -> None:
    guilds = add_guilds(standin, 2)
    (tmp_path / "rules.toml").write_text(EVERYTHING)
    async with start_relay(
        tmp_path,
        discord_api_url=standin.api_url,
        token=TOKEN,
        api_endpoint=machine.api_endpoint,
        credentials=keys_of(machine),
        settings={"RULES_FILE": "rules.toml", "LOG_LEVEL": "debug"},
    ) as relay:
        await standin.wait_connected(20)
        for number, guild in enumerate(guilds):
            await wander(guild, STEPS, random.Random(number))
        sent = list(standin.sent)
        assert {happened.kind for happened in sent} == {"joined", "left", "moved", "updated"}
        await standin.wait_for_messages(_has_lines(webhook, len(sent)), 30)
        relay.terminate()
        assert await relay.wait() == 0
    check_output(relay, [machine.credentials.secret_access_key])
    lines = list(read_lines(webhook))
    assert len(lines) == len(sent)
    for words, count in Counter(map(say, sent)).items():
        assert sum(says(line, words) for line in lines) == count, words


async def test_throttled_burst_reads_in_order(
    standin: StandIn, webhook: Webhook, machine: SingleMachine, tmp_path: Path
) -> None:
    """While a message waits, what comes after it fills the next ones: few, and none overtakes another."""
    (guild,) = add_guilds(standin, 1, people=20)
    (tmp_path / "rules.toml").write_text(EVERYTHING)
    webhook.throttle_next(3, 0.2)
    async with start_relay(
        tmp_path,
        discord_api_url=standin.api_url,
        token=TOKEN,
        api_endpoint=machine.api_endpoint,
        credentials=keys_of(machine),
        settings={"RULES_FILE": "rules.toml"},
    ) as relay:
        await standin.wait_connected(20)
        await wander(guild, 200, random.Random(5))
        sent = list(standin.sent)
        await standin.wait_for_messages(_has_lines(webhook, len(sent)), 60)
        relay.terminate()
        assert await relay.wait() == 0
    lines = list(read_lines(webhook))
    assert all(says(line, say(happened)) for line, happened in zip(lines, sent, strict=True))
    assert webhook.answers[429] == 3
    assert len(webhook.messages) <= 15


async def send_test(
    machine: SingleMachine, standin: StandIn, directory: Path, *arguments: str, secret: str | None = None
) -> Child:
    async with start_relay(
        directory,
        discord_api_url=standin.api_url,
        token=TOKEN,
        api_endpoint=machine.api_endpoint,
        credentials=keys_of(machine, secret),
        settings={"LOG_LEVEL": "debug"},
        arguments=("send-test", *arguments),
    ) as child:
        await child.wait()
    check_output(child, [machine.credentials.secret_access_key, SECRET])
    return child


async def test_made_up_event_is_posted(
    standin: StandIn, webhook: Webhook, machine: SingleMachine, tmp_path: Path
) -> None:
    child = await send_test(machine, standin, tmp_path, "--user-id", "4711", "--channel-id", "42")
    assert child.exit_code == 0
    (line,) = child.stdout.splitlines()
    assert line.startswith("arn:aws:states:")
    await standin.wait_for_messages(_has_lines(webhook, 1), 20)
    (line,) = read_lines(webhook)
    assert "<@4711> joined <#42>" in line


async def test_refused_event_says_why(
    standin: StandIn, webhook: Webhook, machine: SingleMachine, tmp_path: Path
) -> None:
    child = await send_test(machine, standin, tmp_path, secret=SECRET)
    assert child.exit_code == 1
    assert "\nvoice-relay: the API answered 403" in child.stderr
    assert "bot policy" in child.stderr
    assert webhook.messages == []


@asynccontextmanager
async def single_machine_relay(
    directory: Path, standin: StandIn, webhook: Webhook, **settings: str
) -> AsyncIterator[Child]:
    """Run the relay without an endpoint, connected; its output is checked at the end."""
    async with start_relay(
        directory,
        discord_api_url=standin.api_url,
        token=TOKEN,
        credentials={},
        settings={"WEBHOOK_URL": webhook.url, **settings},
    ) as relay:
        await standin.wait_connected(30)
        yield relay
    check_output(relay, [webhook.token])


@pytest.mark.skipif(not has_proc(), reason="children are counted in /proc")
async def test_single_machine_leaves_nothing(standin: StandIn, webhook: Webhook, tmp_path: Path) -> None:
    """Without an endpoint, the relay starts an embedded AWS, and stops it at its end."""
    (guild,) = add_guilds(standin, 1)
    async with single_machine_relay(tmp_path, standin, webhook, LOG_LEVEL="debug") as relay:
        await join_one(guild)
        await standin.wait_for_messages(_has_lines(webhook, 1), 20)
        children = find_descendants(relay.pid)
        assert children
        relay.terminate()
        assert await relay.wait() == 0
        assert not any(map(is_running, children))
    (line,), (happened,) = read_lines(webhook), standin.sent
    assert says(line, say(happened))


async def test_single_machine_names_refused_execution(
    standin: StandIn, webhook: Webhook, tmp_path: Path
) -> None:
    """Its events are dead letters, with Discord's words."""
    (guild,) = add_guilds(standin, 1)
    webhook.fail_next(1, 404, {"message": "Unknown Webhook", "code": 10015})
    async with single_machine_relay(tmp_path, standin, webhook) as relay:
        await join_one(guild)
        (line,) = await relay.wait_for_log("event_dead_lettered")
        relay.terminate()
        assert await relay.wait() == 0
    assert "FAILED: ApiGateway.404" in line["reason"]
    assert "10015" in line["reason"]


async def test_single_machine_posts_before_end(standin: StandIn, webhook: Webhook, tmp_path: Path) -> None:
    """The embedded AWS ends with the relay, so an accepted execution gets the grace to end."""
    (guild,) = add_guilds(standin, 1)
    async with single_machine_relay(tmp_path, standin, webhook) as relay:
        await join_one(guild)
        await relay.wait_for_log("batch_accepted")
        relay.terminate()
        assert await relay.wait() == 0
    (line,), (happened,) = read_lines(webhook), standin.sent
    assert says(line, say(happened))


async def wait_for_receipts(directory: Path, count: int) -> None:
    async with asyncio.timeout(20):
        while True:
            with open_inspection(directory / "data") as inspection:
                if inspection.read_status().receipts >= count:
                    return
            await asyncio.sleep(0.02)


@pytest.mark.skipif(not has_proc(), reason="children are counted in /proc")
async def test_killed_single_machine_goes_on(standin: StandIn, webhook: Webhook, tmp_path: Path) -> None:
    """The embedded AWS ends with its parent; the next relay starts a new one, and resumes the session."""
    (guild,) = add_guilds(standin, 1)
    for life in range(2):
        async with single_machine_relay(tmp_path, standin, webhook) as relay:
            await join_one(guild)
            await standin.wait_for_messages(_has_lines(webhook, life + 1), 20)
            # Before its receipt is on disk, the next process would post it again.
            await wait_for_receipts(tmp_path, life + 1)
            children = find_descendants(relay.pid)
            relay.kill()
            await relay.wait()
            await wait_until_all_ended(children)
    for line, happened in zip(read_lines(webhook), standin.sent, strict=True):
        assert says(line, say(happened))

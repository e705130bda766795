"""From a voice channel to a message: the real program and templates, and an AWS that checks who asks."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pydantic
import pytest

from infra.local.discord import Guild, StandIn, Transition, Webhook
from infra.local.machine import SingleMachine, single_machine
from tests.support.crowd import EVERYTHING, add_guilds, wander
from tests.support.output import TOKEN, check_output
from tests.support.process import Child, start_relay

STEPS = 60
SECRET = "a-secret-of-nobody-at-all-0123456789abcd"


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    """Discord without a limit on posts: how throttling is waited out is shown elsewhere."""
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
        (embed,) = message.body["embeds"]
        assert message.body["allowed_mentions"] == {"parse": []}
        yield from embed["description"].split("\n")


def _has_lines(webhook: Webhook, count: int) -> Callable[[object], bool]:
    return lambda _: len(list(read_lines(webhook))) >= count


def says(line: str, words: str) -> bool:
    who, _, what = words.partition(" … ")
    return who in line and what in line


async def join_somebody(guild: Guild) -> None:
    people = (member for member in guild.members.values() if not member.user.bot)
    member = next(member for member in people if member.id not in guild.voice_states)
    await guild.join(member, next(iter(guild.channels.values())))


async def test_an_evening_has_a_line_in_the_channel_for_every_transition(
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


async def test_a_test_event_is_sent_and_posted(
    standin: StandIn, webhook: Webhook, machine: SingleMachine, tmp_path: Path
) -> None:
    child = await send_test(machine, standin, tmp_path, "--user-id", "4711", "--channel-id", "42")
    assert child.exit_code == 0
    (line,) = child.stdout.splitlines()
    assert line.startswith("arn:aws:states:")
    await standin.wait_for_messages(_has_lines(webhook, 1), 20)
    (line,) = read_lines(webhook)
    assert "<@4711> joined <#42>" in line


async def test_a_test_event_that_is_refused_says_what_to_check(
    standin: StandIn, webhook: Webhook, machine: SingleMachine, tmp_path: Path
) -> None:
    child = await send_test(machine, standin, tmp_path, secret=SECRET)
    assert child.exit_code == 1
    assert "\nvoice-relay: the API answered 403" in child.stderr
    assert "bot policy" in child.stderr
    assert webhook.messages == []


def _descendants(pid: int) -> set[int]:
    """Return the processes that *pid* has started, and theirs."""
    children: dict[int, set[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, set()).add(int(entry.name))
    found, new = set[int](), {pid}
    while new := {child for one in new for child in children.get(one, ())}:
        found |= new
    return found


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # What has ended stays until its parent has asked how.
    return ") Z " not in Path(f"/proc/{pid}/stat").read_text()


async def _wait_for_end(pid: int, timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        # Nobody rings when a grandchild ends.
        while _is_alive(pid):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="children are counted in /proc")
async def test_one_machine_does_it_all_and_leaves_nothing_behind(
    standin: StandIn, webhook: Webhook, tmp_path: Path
) -> None:
    """Without an endpoint the relay brings its own AWS, and takes it along when it ends."""
    (guild,) = add_guilds(standin, 1)
    async with start_relay(
        tmp_path,
        discord_api_url=standin.api_url,
        token=TOKEN,
        credentials={},
        settings={"WEBHOOK_URL": webhook.url, "LOG_LEVEL": "debug"},
    ) as relay:
        await standin.wait_connected(30)
        await join_somebody(guild)
        await standin.wait_for_messages(_has_lines(webhook, 1), 20)
        children = _descendants(relay.pid)
        assert children
        relay.terminate()
        assert await relay.wait() == 0
        assert [pid for pid in children if _is_alive(pid)] == []
    check_output(relay, [webhook.token])
    (line,), (happened,) = read_lines(webhook), standin.sent
    assert says(line, say(happened))


async def test_one_machine_says_which_execution_discord_refused(
    standin: StandIn, webhook: Webhook, tmp_path: Path
) -> None:
    """The relay has delivered its part, so nothing else would tell."""
    (guild,) = add_guilds(standin, 1)
    webhook.fail_next(1, 404, {"message": "Unknown Webhook", "code": 10015})
    async with start_relay(
        tmp_path,
        discord_api_url=standin.api_url,
        token=TOKEN,
        credentials={},
        settings={"WEBHOOK_URL": webhook.url},
    ) as relay:
        await standin.wait_connected(30)
        await join_somebody(guild)
        (delivered,) = await relay.wait_for_log("batch_delivered")
        relay.terminate()
        assert await relay.wait() == 0
    (line,) = relay.log("execution_failed")
    assert (line["execution"], line["error"]) == (delivered["execution"], "WebhookRefused")
    assert "10015" in line["cause"]


async def test_one_machine_posts_what_it_accepted_before_it_ends(
    standin: StandIn, webhook: Webhook, tmp_path: Path
) -> None:
    """An execution that was accepted is off the outbox, so nobody would start it again."""
    (guild,) = add_guilds(standin, 1)
    async with start_relay(
        tmp_path,
        discord_api_url=standin.api_url,
        token=TOKEN,
        credentials={},
        settings={"WEBHOOK_URL": webhook.url},
    ) as relay:
        await standin.wait_connected(30)
        await join_somebody(guild)
        await relay.wait_for_log("batch_delivered")
        relay.terminate()
        assert await relay.wait() == 0
    (line,), (happened,) = read_lines(webhook), standin.sent
    assert says(line, say(happened))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="children are counted in /proc")
async def test_one_machine_that_is_killed_leaves_nothing_behind_and_goes_on(
    standin: StandIn, webhook: Webhook, tmp_path: Path
) -> None:
    """The embedded AWS ends with its parent; the next relay's is a new one, and the outbox is the old one."""
    (guild,) = add_guilds(standin, 1)
    for life in range(2):
        async with start_relay(
            tmp_path,
            discord_api_url=standin.api_url,
            token=TOKEN,
            credentials={},
            settings={"WEBHOOK_URL": webhook.url},
        ) as relay:
            await standin.wait_connected(30)
            await join_somebody(guild)
            wanted = 1 if life == 0 else 3
            await standin.wait_for_messages(_has_lines(webhook, wanted), 20)
            children = _descendants(relay.pid)
            relay.kill()
            await relay.wait()
            for pid in children:
                await _wait_for_end(pid)
        check_output(relay, [webhook.token])
    lines = list(read_lines(webhook))
    assert ["joined" in line for line in lines] == [True, False, True]

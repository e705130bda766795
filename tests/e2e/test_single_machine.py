"""Everything on one machine: the real program with its embedded AWS, posting to the stand-in for Discord."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from infra.local.discord import RateLimit, StandIn
from tests.e2e.test_health import base_url, wait_for_answer
from tests.support.crowd import add_guilds, join_one
from tests.support.output import check_output
from tests.support.process import Child, start_relay
from tests.support.single_machine import End, Evening
from tests.support.waiting_room import ACTIONS, Hall


@asynccontextmanager
async def running(
    directory: Path, standin: StandIn, webhook_url: str, **settings: str
) -> AsyncIterator[Child]:
    """The relay, connected to *standin*; killed at the end if it still runs."""
    async with start_relay(
        directory,
        discord_api_url=standin.api_url,
        token=standin.token,
        credentials={},
        settings={"WEBHOOK_URL": webhook_url, **settings},
    ) as relay:
        await standin.wait_connected(30)
        yield relay


async def stop(relay: Child) -> None:
    relay.terminate()
    assert await relay.wait() == 0


async def test_gone_webhook_keeps_events(standin: StandIn, tmp_path: Path) -> None:
    """The relay says so and is not ready, but watches; the next one, with a new webhook, posts."""
    (guild,) = add_guilds(standin, 1)
    webhook = standin.add_webhook("voice", guild.add_text_channel("chat"))
    gone = standin.webhooks.by_id.pop(webhook.id)
    async with running(tmp_path, standin, gone.url) as relay, aiohttp.ClientSession() as http:
        (line,) = await relay.wait_for_log("webhook_refused")
        assert "VOICE_RELAY_WEBHOOK_URL" in line["next"]
        url = await base_url(relay)
        await wait_for_answer(http, url + "/readyz", 503, "Discord refuses the webhook: the webhook does not")
        await join_one(guild)
        await relay.wait_for_log("batch_retried_later")
        await stop(relay)
        assert standin.webhooks.unknown == 1
        assert relay.log("webhook_refused") == [line]
        check_output(relay, [gone.token])

    standin.webhooks.by_id[gone.id] = gone
    async with running(tmp_path, standin, gone.url) as relay:
        (found,) = await relay.wait_for_log("webhook_found")
        assert found["guild_id"] == guild.id
        await standin.wait_for_messages(bool, 20)
        await stop(relay)
    assert len(standin.messages) == 1


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_restart_loses_no_message(standin: StandIn, tmp_path: Path, end: End) -> None:
    """The embedded AWS ends with the relay, and with it executions that wait out Discord's rate limit.

    The next process posts what they had not, in order. What Discord took at that moment may come twice, which
    is one message at most for each server: no more is in flight. No gap, because the session lives on.
    """
    evening = Evening(tmp_path, standin, guilds=2, per_s=30, seed=4)
    evening.webhook.limit_to(RateLimit(1, per_s=1.0))

    played = await evening.play(9, ends={4: end})

    assert evening.webhook.answers[429], "Discord did not throttle"
    assert list(played.comparison.describe()) == []
    assert (played.comparison.complete, played.comparison.misplaced, played.gaps) == (True, 0, 0)
    assert played.repeated <= 2


async def test_stop_abandons_running_execution(standin: StandIn, tmp_path: Path) -> None:
    """An execution that runs when the grace is over is left to the next process, without another wait."""
    (guild,) = add_guilds(standin, 1)
    webhook = standin.add_webhook("voice", guild.add_text_channel("chat"))
    webhook.delay_s = 3600
    async with running(tmp_path, standin, webhook.url, SHUTDOWN_GRACE_S="0.1") as relay:
        await join_one(guild)
        await relay.wait_for_log("batch_accepted")
        await stop(relay)
        assert relay.log()[-1]["event"] == "stopped"
    webhook.delay_s = 0
    async with running(tmp_path, standin, webhook.url) as relay:
        await standin.wait_for_messages(bool, 20)
        await stop(relay)
    assert len(webhook.messages) == 1


async def test_waiting_room_needs_only_rules(standin: StandIn, tmp_path: Path) -> None:
    """The stack of admit is deployed because the rules name it."""
    hall, webhook = Hall(standin), standin.add_webhook("voice")
    (tmp_path / "rules.toml").write_text(hall.rules())
    async with running(tmp_path, standin, webhook.url, RULES_FILE="rules.toml", ACTIONS=ACTIONS) as relay:
        await hall.guild.join(hall.nelly, hall.room)
        card = await hall.wait_for_card()

        await standin.press(hall.molly, card, "Admit", 10)

        assert "✅ Admitted" in await hall.wait_closed(card)
        assert hall.guild.people_in(hall.target) == [hall.nelly]
        await stop(relay)
        check_output(relay, [webhook.token])


async def test_escort_mutes_and_moves(standin: StandIn, tmp_path: Path) -> None:
    """Who joins the stage is muted, and who is alone afterwards is moved."""
    hall, webhook = Hall(standin), standin.add_webhook("voice")
    stage = hall.guild.add_stage_channel("stage")
    rule = '[[rule]]\n{}\nworkflow = "escort"\n[rule.parameters]\n{}\n'
    lonely = f'do = "move"\nwhom = "alone"\nwait_s = 1\ntarget_channel = "{hall.target.id}"'
    (tmp_path / "rules.toml").write_text(
        rule.format(f'entering = ["{stage.id}"]', 'do = "mute"')
        + rule.format(f'leaving = ["{hall.room.id}"]', lonely)
    )
    actions = "list_channel,mute,move"
    async with running(tmp_path, standin, webhook.url, RULES_FILE="rules.toml", ACTIONS=actions) as relay:
        await hall.guild.join(hall.nelly, hall.room)
        await hall.guild.join(hall.molly, hall.room)
        await hall.guild.leave(hall.molly)
        await hall.guild.join(hall.otto, stage)

        await standin.wait_until(lambda: len(hall.guild.audit_log) == 2, 30, "both acts")
        await stop(relay)
    assert {(entry.action, entry.target_id) for entry in hall.guild.audit_log} == {
        ("member_update", hall.otto.id),
        ("member_move", None),
    }
    assert hall.guild.people_in(hall.target) == [hall.nelly]
    assert hall.guild.people_in(stage) == [hall.otto]

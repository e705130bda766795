"""Rules that name a workflow or a destination that is not there, at the start and at a reload."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials
from structlog.testing import capture_logs

from bot.api.target import FixedCredentials, Target
from bot.app import open_relay
from bot.delivery.posts import Posts
from bot.errors import SettingsError
from bot.relay import Relay
from bot.routing.rules import Rules
from bot.routing.rules_file import load_rules
from bot.routing.targets import Targets
from bot.settings.settings import Settings

_WEBHOOK = "https://discord.com/api/webhooks/127121515262115840/token"


@asynccontextmanager
async def _opened(folder: Path, **settings: Any) -> AsyncIterator[Relay]:
    """The relay's parts, not connected to anything."""
    credentials = FixedCredentials(ReadOnlyCredentials("AKID", "secret", None))
    values = {
        "discord_token": "t",
        "data_dir": folder / "data",
        "rules_file": folder / "rules.toml",
        **settings,
    }
    async with open_relay(
        Settings(_env_file=None, **values), Target("http://127.0.0.1:9", "us-east-1", credentials)
    ) as relay:
        yield relay


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


def _write_rules(folder: Path, text: str) -> None:
    (folder / "rules.toml").write_text(f"[[rule]]\n{text}\n")


def _problems(logs: list[Any]) -> list[str]:
    return [entry["problem"] for entry in logs if entry["event"] == "rule_leads_nowhere"]


async def test_single_machine_refuses_at_start(tmp_path: Path) -> None:
    _write_rules(tmp_path, 'workflow = "audit"')

    with pytest.raises(SettingsError) as caught:
        async with _opened(tmp_path, webhook_url=_WEBHOOK):
            pass

    (problem,) = caught.value.problems
    assert problem.startswith(
        f"VOICE_RELAY_RULES_FILE: {tmp_path}/rules.toml line 2, rule 1: there is no workflow audit"
    )


async def test_definitions_are_known(tmp_path: Path) -> None:
    (tmp_path / "audit.asl.json").touch()
    _write_rules(tmp_path, 'workflow = "audit"')

    async with _opened(tmp_path, webhook_url=_WEBHOOK, workflows_dir=tmp_path) as relay:
        assert relay._intake.rules.rules[0].workflow == "audit"


async def test_reload_deploys_no_workflow(tmp_path: Path) -> None:
    """Single-machine mode deploys what the rules name when it starts."""
    (tmp_path / "audit.asl.json").touch()
    _write_rules(tmp_path, 'name = "old"')
    async with _opened(tmp_path, webhook_url=_WEBHOOK, workflows_dir=tmp_path) as relay:
        old = relay._intake.rules
        _write_rules(tmp_path, 'workflow = "audit"')
        with capture_logs() as logs:
            relay.reload_rules()
            await _until(lambda: any(line["event"].startswith("rules_") for line in logs))

        (kept,) = (line for line in logs if line["event"].startswith("rules_"))
        assert (kept["event"], kept["workflows"]) == ("rules_kept", ["audit"])
        assert kept["reason"].endswith("restart the relay")
        assert relay._intake.rules is old


async def test_single_machine_keeps_rules_at_reload(tmp_path: Path) -> None:
    _write_rules(tmp_path, 'name = "old"')
    async with _opened(tmp_path, webhook_url=_WEBHOOK) as relay:
        old = relay._intake.rules
        _write_rules(tmp_path, 'destination = "mods"')
        with capture_logs() as logs:
            relay.reload_rules()
            await _until(lambda: any(line["event"].startswith("rules_") for line in logs))

        (kept,) = (line for line in logs if line["event"].startswith("rules_"))
        assert (kept["event"], kept["log_level"]) == ("rules_kept", "error")
        assert "there is no destination mods" in kept["problems"][0]
        assert relay._intake.rules is old


async def test_stack_warns_and_goes_on(tmp_path: Path) -> None:
    """A stack may have workflows that nobody told this process of."""
    _write_rules(tmp_path, 'workflow = "audit"')
    with capture_logs() as logs:
        async with _opened(tmp_path, api_endpoint="https://api.invalid") as relay:
            assert "is not one of digest and notify" in _problems(logs)[0]
            _write_rules(tmp_path, 'destination = "mods"')
            relay.reload_rules()
            await _until(lambda: relay._intake.rules.rules[0].destination == "mods")

    assert len(_problems(logs)) == 2
    assert "VOICE_RELAY_DESTINATIONS" in _problems(logs)[1]


async def test_reload_ends_trouble_of_posts(tmp_path: Path) -> None:
    """The rules may have left a destination that fails, and nothing would ever be posted to it again."""
    _write_rules(tmp_path, 'destination = "mods"')
    async with _opened(tmp_path, api_endpoint="https://api.invalid") as relay:
        posts = relay._follower._posts["mods"] = Posts("mods")
        posts.trouble = "posts to the destination mods fail"
        assert posts.trouble in relay.not_ready()
        _write_rules(tmp_path, 'name = "new"')
        relay.reload_rules()
        await _until(lambda: relay._intake.rules.rules[0].name == "new")
        assert relay._follower.trouble is None


async def test_stack_settings_silence_warnings(tmp_path: Path) -> None:
    _write_rules(tmp_path, 'workflow = "audit"\ncontinue = true\n[[rule]]\ndestination = "mods"')
    with capture_logs() as logs:
        async with _opened(
            tmp_path, api_endpoint="https://api.invalid", workflows="audit", destinations="default,mods"
        ):
            pass

    assert _problems(logs) == []


async def test_reload_reads_off_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file may be on a disk that hangs. Of two signals the later one counts."""
    _write_rules(tmp_path, 'name = "old"')
    threads = []

    def load(path: Path, targets: Targets) -> Rules:
        threads.append(threading.current_thread())
        return load_rules(path, targets)

    async with _opened(tmp_path, webhook_url=_WEBHOOK) as relay:
        monkeypatch.setattr("bot.relay.load_rules", load)
        _write_rules(tmp_path, 'name = "new"')
        relay.reload_rules()
        relay.reload_rules()
        await _until(lambda: len(threads) == 2 and relay._intake.rules.rules[0].name == "new")
    assert threading.main_thread() not in threads


async def test_start_names_actions_that_are_refused(tmp_path: Path) -> None:
    """A press would be promised that the workflow goes on, and the bot would refuse what it goes on with."""
    _write_rules(tmp_path, 'workflow = "escort"\nparameters = { do = "disconnect" }')

    with capture_logs() as logs:
        async with _opened(tmp_path, webhook_url=_WEBHOOK, actions="send"):
            pass
    (problem,) = (entry["problem"] for entry in logs if entry["event"] == "actions_missing")
    assert problem.endswith("add to VOICE_RELAY_ACTIONS list_channel")

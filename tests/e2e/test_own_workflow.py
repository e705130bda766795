"""A workflow of one's own on one machine: the real program deploys what its rules name, and runs it."""

from pathlib import Path

from bot.cli.main import main
from infra.local.discord import StandIn
from tests.e2e.test_single_machine import running, stop
from tests.support.crowd import add_guilds, join_one
from tests.support.output import check_output

RULES = '[[rule]]\ntypes = ["joined"]\nworkflow = "greet"\n'


async def test_runs_workflow_of_its_rules(standin: StandIn, tmp_path: Path) -> None:
    """As ``voice-relay workflow new`` writes it; what else is in the directory is not deployed."""
    (guild,) = add_guilds(standin, 1)
    webhook = standin.add_webhook("voice", guild.add_text_channel("chat"))
    assert main(["workflow", "new", "greet", str(tmp_path / "own")]) == 0
    (tmp_path / "own" / "unused.asl.json").write_text("not even JSON")
    (tmp_path / "rules.toml").write_text(RULES)
    settings = {
        "WORKFLOWS_DIR": str(tmp_path / "own"),
        "RULES_FILE": str(tmp_path / "rules.toml"),
    }

    async with running(tmp_path, standin, webhook.url, **settings) as relay:
        (line,) = await relay.wait_for_log("single_machine_starting")
        assert line["workflows"] == ["greet"]
        await join_one(guild)
        await standin.wait_for_messages(bool, 20)
        await stop(relay)

    (member,) = guild.voice_states
    assert webhook.messages[0].body["content"] == f"Hello, <@{member}>!"
    check_output(relay, [webhook.token])

"""The command line itself: usage, help and refusals, with nothing to connect to."""

import tomllib
from pathlib import Path

import pytest

from tests.support.process import start_child

VERSION = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]

_ARN = "arn:aws:states:us-east-1:123456789012:execution:voice-relay-notify:1-01JD"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("--version",), 0, VERSION),
        (("--help",), 0, "send-test"),
        (("run", "--help"), 0, "usage: voice-relay run"),
        (("send-test", "--help"), 0, "--channel-id"),
        ((), 2, "COMMAND"),
        (("dance",), 2, "invalid choice: 'dance'"),
        (("send-tset",), 2, "did you mean send-test?"),
        (("outbox", "lsit"), 2, "did you mean list?"),
        (("deploy", "servise"), 2, "did you mean service?"),
        (("run", "--fast"), 2, "unrecognized arguments: --fast\n"),
        (("run", "--fast"), 2, "usage: voice-relay run [-h]\n"),
        (("send-test", "--wiat"), 2, "unrecognized arguments: --wiat; did you mean --wait?"),
        (("send-test", "--wiat"), 2, "usage: voice-relay send-test [-h]"),
        (("outbox", "drop", "1", "--yse"), 2, "usage: voice-relay outbox drop [-h]"),
        (("send-test", "--guildid=5"), 2, "did you mean --guild-id?"),
        (("send-test", "--guild-id", "abc"), 2, "--guild-id: must be an id: up to 20 digits"),
        (("send-test", "--timeout", "5"), 2, "give --wait as well"),
        (("outbox", "retry", "--all"), 2, "it is now called redrive"),
        (("rules", "check"), 0, "the built-in rules"),
        (("send-test",), 2, "VOICE_RELAY_WEBHOOK_URL is not set, nor is VOICE_RELAY_API_ENDPOINT"),
        (("send-test", "--workflow", "audit"), 2, "VOICE_RELAY_WEBHOOK_URL is not set"),
        (("send-test", "--workflow", "../x"), 2, "--workflow must be a name"),
        (("send-test", "--workflow", "status"), 2, "takes no event: choose notify, digest, heartbeat"),
        (("send-test", "--workflow", "heartbeat", "--destination", "x"), 2, "leave out --destination"),
        (("send-test", "--timeout", "soon"), 2, "--timeout: must be a number of seconds"),
        (("status", "--help"), 0, "--wait"),
        (("status", _ARN, "--timeout", "1"), 2, "give --wait as well"),
        (("status", _ARN), 2, "VOICE_RELAY_API_ENDPOINT is not set: in single-machine mode"),
        (("status", "1-01JD"), 2, "this outbox has no receipt of an execution with that name"),
        (("stop", "--help"), 0, "usage: voice-relay stop [-h] [--yes] ARN"),
        (("stop", _ARN, "--yes"), 2, "VOICE_RELAY_API_ENDPOINT is not set: in single-machine mode"),
    ],
)
async def test_exits_with_documented_code(
    tmp_path: Path, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    async with start_child(["-m", "bot.cli", *arguments], tmp_path, {}) as child:
        assert await child.wait() == exit_code
    assert words in (child.stderr if exit_code else child.stdout)
    assert "Traceback" not in child.stdout + child.stderr


async def test_single_machine_names_its_workflows(tmp_path: Path) -> None:
    """Before the embedded AWS starts."""
    webhook = {"VOICE_RELAY_WEBHOOK_URL": "http://127.0.0.1:9/api/webhooks/1/token"}
    async with start_child(["-m", "bot.cli", "send-test", "--workflow", "audit"], tmp_path, webhook) as child:
        assert await child.wait() == 2
    assert "no workflow audit (did you mean admit?): this machine has admit, digest, escort" in child.stderr
    assert "single_machine_starting" not in child.stdout + child.stderr

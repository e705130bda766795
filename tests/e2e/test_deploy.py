"""The real command at a real terminal, against the embedded AWS."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.aws import EmbeddedAws
from tests.e2e.terminal import at_terminal
from tests.support.process import start_child

URL = "http://127.0.0.1:9/api/webhooks/123456/t0ken-of_a-webhook"


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws(wait_scale=0) as aws:
        yield aws


def _environment(aws: EmbeddedAws, directory: Path) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_ACCESS_KEY_ID": aws.admin.access_key_id,
        "AWS_SECRET_ACCESS_KEY": aws.admin.secret_access_key,
        "AWS_DEFAULT_REGION": aws.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(directory),
    }


async def test_terminal_shows_plan_without_webhook(aws: EmbeddedAws, tmp_path: Path) -> None:
    """The webhook is typed without an echo, and the answer after the plan."""
    async with at_terminal(
        "deploy", "--create-access-key", directory=tmp_path, environment=_environment(aws, tmp_path)
    ) as terminal:
        await terminal.wait_for("Webhook URL of the destination default (not shown): ")
        terminal.type(URL + "\n")
        await terminal.wait_for("Deploy this? [y/N] ")
        assert "AWS::StepFunctions::StateMachine  NotifyStateMachine" in terminal.shown
        terminal.type("y\n")
        assert await terminal.wait_end() == 0, terminal.shown

    assert "\r\x1b[K0:0" in terminal.shown
    assert "CREATE_COMPLETE             " not in terminal.shown
    assert "t0ken-of_a-webhook" not in terminal.shown
    assert "AWS_SECRET_ACCESS_KEY=" in (tmp_path / ".env").read_text()


async def test_bot_needs_only_written_settings(aws: EmbeddedAws, tmp_path: Path) -> None:
    (tmp_path / "webhook").write_text(URL)
    deploy = ("deploy", "--yes", "--stack-name", "other", "--webhook-file", "webhook", "--create-access-key")
    async with start_child(["-m", "bot.cli", *deploy], tmp_path, _environment(aws, tmp_path)) as child:
        assert await child.wait() == 0, child.stderr
    outputs = await asyncio.to_thread(
        lambda: aws.client("cloudformation").describe_stacks(StackName="other")["Stacks"][0]["Outputs"]
    )
    api_id = next(output["OutputValue"] for output in outputs if output["OutputKey"] == "IngressApiId")
    # The endpoint in .env resolves only on AWS, or with a resolver that knows .localhost.
    environment = {"VOICE_RELAY_API_ENDPOINT": aws.api_url(api_id)}

    async with start_child(["-m", "bot.cli", "send-test"], tmp_path, environment) as child:
        assert await child.wait() == 0, child.stderr

    assert ":execution:other-notify:" in child.stdout

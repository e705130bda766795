"""``voice-relay verify``, the real command against the embedded AWS: its table, and that nothing is left."""

import asyncio
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.aws import EmbeddedAws
from infra.verify.checks import CHECKS
from tests.e2e.terminal import at_terminal
from tests.integration.infra.inventory import Kinds, take_inventory
from tests.support.output import check_output, wait_for_text
from tests.support.process import Child, start_child
from tests.support.request_bin import RequestBin

WEBHOOK_TOKEN = "t0ken-of_a-webhook"
_TIMEOUT_S = 100.0
# Some run the command three times, each with about ten stacks.
pytestmark = pytest.mark.timeout(300)
_KINDS: Kinds = {
    "stacks": ("cloudformation", "list_stacks", "StackSummaries", "StackName"),
    "apis": ("apigatewayv2", "get_apis", "Items", "ApiId"),
    "roles": ("iam", "list_roles", "Roles", "RoleName"),
    "policies": ("iam", "list_policies", "Policies", "Arn"),
    "users": ("iam", "list_users", "Users", "UserName"),
    "machines": ("stepfunctions", "list_state_machines", "stateMachines", "stateMachineArn"),
    "activities": ("stepfunctions", "list_activities", "activities", "activityArn"),
    "tables": ("dynamodb", "list_tables", "TableNames", None),
    "secrets": ("secretsmanager", "list_secrets", "SecretList", "Name"),
    "logs": ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "exports": ("cloudformation", "list_exports", "Exports", "Name"),
}
_SKIPPED_BY_EMBEDDED = {
    "poll without an action": "a poll without a task takes a minute; the relay's own tests make one",
    "redrive of a failed post": "the embedded AWS has no redrive",
    "log of the signal workflow": "the embedded AWS writes no logs of executions",
    "metrics of the alarms": "the embedded AWS records no metrics",
}
_OF_BIN = {
    *("post whose Path begins with a slash", "post whose Path begins without one"),
    *("User-Agent of a post", "signature of a post, at its target"),
    *("User-Agent of a call", "Range of a call", "state of the connection", "workflow report"),
}
_OF_WEBHOOK = {"workflow notify", "workflow digest"}


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


def _inventory(aws: EmbeddedAws) -> dict[str, set[str]]:
    found = take_inventory(aws, {kind: how for kind, how in _KINDS.items() if kind != "stacks"})
    stacks = aws.client("cloudformation").describe_stacks()["Stacks"]
    return found | {"stacks": {stack["StackName"] for stack in stacks}}


async def _verify(aws: EmbeddedAws, directory: Path, *options: str, exit_code: int) -> Child:
    """Run the command, and check that it leaves nothing in the account."""
    before = await asyncio.to_thread(_inventory, aws)
    command = ["-m", "bot.cli", "verify", "--yes", *options]
    async with start_child(command, directory, _environment(aws, directory)) as child:
        assert await child.wait(_TIMEOUT_S) == exit_code, child.stdout + child.stderr
    assert await asyncio.to_thread(_inventory, aws) == before
    check_output(child, [WEBHOOK_TOKEN, aws.admin.secret_access_key])
    return child


def _rows(child: Child) -> dict[str, tuple[str, str, str]]:
    """Return what was expected and seen, and the result, of each check in the table."""
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in child.stdout.splitlines()
        if line.startswith("|")
    ]
    assert cells[0] == ["check", "expected", "seen", "result"]
    return {name: (expected, seen, result) for name, expected, seen, result in cells[2:]}


async def test_every_check_is_as_expected(aws: EmbeddedAws, tmp_path: Path) -> None:
    """With a webhook and a request bin, only what the embedded AWS lacks is skipped."""
    with RequestBin() as bin_:
        (tmp_path / "webhook").write_text(f"{bin_.address}/api/webhooks/123456/{WEBHOOK_TOKEN}")
        options = ("--webhook-file", "webhook", "--request-bin", f"{bin_.address}/anything")
        child = await _verify(aws, tmp_path, *options, exit_code=0)

    rows = _rows(child)
    assert list(rows) == [check.name for check in CHECKS]
    skipped = {name: f"skipped ({why})" for name, why in _SKIPPED_BY_EMBEDDED.items()}
    assert {name: result for name, (_, _, result) in rows.items()} == {
        check.name: skipped.get(check.name, "ok") for check in CHECKS
    }
    assert rows["start with a taken name and other input"][:2] == ("400 ExecutionAlreadyExists",) * 2
    assert "authorization, x-amz-date" in rows["signature of a post, at its target"][1]
    assert f"{len(CHECKS) - 4} ok, 0 differs, 4 skipped" in child.stdout
    # Two posts to the webhook, with the destination's own URL.
    assert bin_.paths.count(f"/api/webhooks/123456/{WEBHOOK_TOKEN}?wait=true") == 2


async def test_lost_header_differs(aws: EmbeddedAws, tmp_path: Path) -> None:
    """And only that; without a webhook, what needs one is skipped."""
    with RequestBin(loses={"authorization"}) as bin_:
        options = ("--request-bin", f"{bin_.address}/anything")
        child = await _verify(aws, tmp_path, *options, exit_code=1)

    rows = _rows(child)
    assert [name for name, row in rows.items() if row[2] == "differs"] == [
        "signature of a post, at its target"
    ]
    assert rows["signature of a post, at its target"][1] == "x-amz-date, x-amz-security-token"
    assert {name for name, row in rows.items() if "--webhook-file" in row[2]} == _OF_WEBHOOK


async def test_interruption_removes_stacks(aws: EmbeddedAws, tmp_path: Path) -> None:
    """In the middle of a deployment, with which CloudFormation continues at first."""
    before = await asyncio.to_thread(_inventory, aws)
    command = ["-m", "bot.cli", "verify", "--yes"]
    async with start_child(command, tmp_path, _environment(aws, tmp_path)) as child:
        await wait_for_text(child, "Deploying the workflow brief")
        child.send_signal(signal.SIGINT)
        assert await child.wait(_TIMEOUT_S) == 130, child.stderr

    assert "interrupted before every check was made" in child.stderr
    assert await asyncio.to_thread(_inventory, aws) == before
    check_output(child)


async def test_kept_stacks_are_removed_later(aws: EmbeddedAws, tmp_path: Path) -> None:
    """By the command that the first one shows, and by one that was interrupted again while it removed."""
    before = await asyncio.to_thread(_inventory, aws)
    environment = _environment(aws, tmp_path)
    async with start_child(["-m", "bot.cli", "verify", "--yes", "--keep"], tmp_path, environment) as child:
        assert await child.wait(_TIMEOUT_S) == 0, child.stderr
    kept = await asyncio.to_thread(_inventory, aws)
    assert len(kept["users"] - before["users"]) == 6
    (command,) = re.findall(r"Kept: remove it with voice-relay (verify .+)", child.stdout)

    remove = ["-m", "bot.cli", *command.split()]
    async with start_child(remove, tmp_path, environment) as child:
        await wait_for_text(child, "Removed the stack")
        child.send_signal(signal.SIGINT)
        assert await child.wait(_TIMEOUT_S) == 1
    assert f"something may be left: remove it with voice-relay {command}" in child.stderr
    async with start_child(remove, tmp_path, environment) as child:
        assert await child.wait(_TIMEOUT_S) == 0, child.stderr

    assert await asyncio.to_thread(_inventory, aws) == before


async def test_killed_run_can_be_removed(aws: EmbeddedAws, tmp_path: Path) -> None:
    before = await asyncio.to_thread(_inventory, aws)
    environment = _environment(aws, tmp_path)
    async with start_child(["-m", "bot.cli", "verify", "--yes"], tmp_path, environment) as child:
        shown = await wait_for_text(child, "Deploying the workflow probe")
        child.kill()
    (stack,) = re.findall(r"Deploying the relay (\S+)", shown)
    assert await asyncio.to_thread(_inventory, aws) != before

    remove = ["-m", "bot.cli", "verify", "--remove", stack]
    async with start_child(remove, tmp_path, environment) as child:
        assert await child.wait(_TIMEOUT_S) == 0, child.stderr

    assert await asyncio.to_thread(_inventory, aws) == before


async def test_other_stacks_are_never_removed(aws: EmbeddedAws, tmp_path: Path) -> None:
    remove = ["-m", "bot.cli", "verify", "--remove", "voice-relay"]
    async with start_child(remove, tmp_path, _environment(aws, tmp_path)) as child:
        assert await child.wait() == 2

    assert "--remove takes the stack of an earlier run" in child.stderr


async def test_says_what_it_cannot_remove(aws: EmbeddedAws, tmp_path: Path) -> None:
    """And how to remove it then; the rest is gone."""
    cloudformation = aws.client("cloudformation")
    environment = _environment(aws, tmp_path)
    async with start_child(["-m", "bot.cli", "verify", "--yes"], tmp_path, environment) as child:
        shown = await wait_for_text(child, "Creating the users")
        (stack,) = re.findall(r"Deploying the relay (\S+)", shown)
        protect = cloudformation.update_termination_protection
        await asyncio.to_thread(protect, StackName=stack, EnableTerminationProtection=True)
        assert await child.wait(_TIMEOUT_S) == 1, child.stderr

    assert f"cannot remove the stack {stack}: stack {stack} has termination protection" in child.stderr
    assert f"remove it with voice-relay verify --remove {stack} --region {aws.region}" in child.stderr
    assert "0 differs" in child.stdout
    left = await asyncio.to_thread(_inventory, aws)
    assert (left["stacks"], left["users"]) == ({stack}, set())
    await asyncio.to_thread(protect, StackName=stack, EnableTerminationProtection=False)
    remove = ["-m", "bot.cli", "verify", "--remove", stack]
    async with start_child(remove, tmp_path, environment) as child:
        assert await child.wait(_TIMEOUT_S) == 0, child.stderr


async def test_nothing_is_created_unasked(aws: EmbeddedAws, tmp_path: Path) -> None:
    before = await asyncio.to_thread(_inventory, aws)
    async with at_terminal("verify", directory=tmp_path, environment=_environment(aws, tmp_path)) as terminal:
        await terminal.wait_for("Verify this account? [y/N] ")
        assert "A run costs next to nothing" in terminal.shown
        terminal.type("n\n")
        assert await terminal.wait_end() == 1

    assert await asyncio.to_thread(_inventory, aws) == before

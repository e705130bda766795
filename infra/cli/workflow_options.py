"""The options of ``voice-relay deploy workflow``: which definition, and what its role is granted."""

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import botocore.exceptions

from bot.cli.parser import Arguments, CommandParser, key_value
from bot.console import Console
from bot.errors import SettingsError
from infra.deploy.account import Account
from infra.deploy.aws_errors import explain
from infra.deploy.definition import Definition, read_definition
from infra.deploy.grants import GRANTS, find_ungranted
from infra.deploy.policy_file import read_policy
from infra.deploy.workflow_stack import OwnWorkflow
from workflow.registry import WORKFLOWS, Workflow

ONLY_WORKFLOW: Final = ("name", "posts", "acts", "waits", "calls", "policy", "set")


def add_workflow_arguments(parser: CommandParser) -> None:
    group = parser.add_argument_group("a workflow with a stack of its own")
    group.add_argument("--name", metavar="NAME", help="default: that of the definition's file")
    group.add_argument("--posts", action="store_true", help="let it post to the relay's destinations")
    group.add_argument("--acts", action="store_true", help="let it have the bot act in Discord")
    group.add_argument("--waits", action="store_true", help="let it wait for signals")
    group.add_argument(
        "--calls", metavar="CONNECTION", help="let it call another API through this connection"
    )
    group.add_argument(
        "--policy", type=Path, metavar="FILE", help="further permissions: a JSON list of IAM statements"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        type=key_value,
        metavar="KEY=VALUE",
        help="put VALUE in for ${KEY} in the definition; repeatable",
    )


def read_workflow(arguments: Arguments) -> OwnWorkflow:
    """Return the workflow to deploy; raises SettingsError with every problem."""
    bundled = find_bundled(arguments.workflow)
    definition = read_definition(
        bundled.definition if bundled else Path(arguments.workflow),
        name=arguments.name,
        values=dict(arguments.set),
    )
    policy = arguments.policy or (bundled and bundled.policy)
    granted = definition.needs if bundled else _read_granted(arguments)
    problems = [
        *_find_missing(definition, granted | (_read_granted(arguments) & {"calls"})),
        *_find_superfluous(definition, _read_granted(arguments)),
    ]
    if bundled and "calls" in definition.needs and arguments.calls is None:
        problems.append(f"{definition.name} calls another API: name the connection with --calls CONNECTION")
    if policy is None and not problems:
        problems += _find_unpermitted(definition)
    if problems:
        raise SettingsError(problems)
    return OwnWorkflow(definition, arguments.calls, read_policy(policy) if policy else ())


def find_bundled(named: str) -> Workflow | None:
    """Return the bundled workflow with this name, or ``None`` if *named* is a file; else SettingsError."""
    workflow = WORKFLOWS.get(named)
    if workflow is not None and workflow.own_stack:
        return workflow
    if named.endswith(".json") or Path(named).exists():
        return None
    bundled = ", ".join(name for name, each in WORKFLOWS.items() if each.own_stack) or "none"
    if workflow is not None:
        raise SettingsError([f"{named} has no stack of its own: it is deployed with what it is part of"])
    raise SettingsError(
        [f"there is no file {named}, and no workflow of that name comes with voice-relay ({bundled} does)"]
    )


def check_with_aws(workflow: OwnWorkflow, account: Account, console: Console) -> None:
    """Let Step Functions check the definition; raises SettingsError with its errors.

    Without the permission to ask, it checks when it makes the state machine.
    """
    text = workflow.definition.text
    for name, value in _examples(account).items():
        text = text.replace(f"${{{name}}}", value)
    try:
        answer = account.client("stepfunctions").validate_state_machine_definition(definition=text)
    except botocore.exceptions.ClientError as error:
        console.hint(f"Step Functions did not check the definition: {explain(error)}")
        return
    found = {severity: list(_diagnostics(answer, severity)) for severity in ("ERROR", "WARNING")}
    console.hint(*found["WARNING"])
    if answer["result"] != "OK":
        raise SettingsError([f"{workflow.name}: {text}" for text in found["ERROR"]])


def _diagnostics(answer: Mapping[str, Any], severity: str) -> Iterator[str]:
    for entry in answer.get("diagnostics", ()):
        if entry["severity"] == severity:
            where = f" at {entry['location']}" if entry.get("location") else ""
            yield f"{entry['message']} ({entry['code']}{where})"


def _examples(account: Account) -> dict[str, str]:
    """Return a value of the right form for each placeholder that the stack fills in."""
    partition = account.session.get_partition_for_region(account.region)
    where = f"{account.region}:{account.id}"
    return {
        "Partition": partition,
        "Region": account.region,
        "AccountId": account.id,
        "WebhookProxyHost": f"proxy.execute-api.{account.region}.amazonaws.com",
        "ActionsActivity": f"arn:{partition}:states:{where}:activity:actions",
        "WaitsTable": "waits",
        "ConnectionArn": f"arn:{partition}:events:{where}:connection/example/{uuid.UUID(int=0)}",
        "CallUrl": "https://api.example.com",
        "Renewal": f"arn:{partition}:states:{where}:stateMachine:refresh",
    }


def _read_granted(arguments: Arguments) -> frozenset[str]:
    return frozenset(grant.option for grant in GRANTS if getattr(arguments, grant.option))


def _find_missing(definition: Definition, granted: frozenset[str]) -> Iterator[str]:
    for grant in GRANTS:
        if grant.option in definition.needs - granted:
            used = _shown(grant.placeholders & definition.placeholders)
            value = " CONNECTION" if grant.option == "calls" else ""
            yield f"{definition.name} {grant.does} (it uses {used}): add --{grant.option}{value}"


def _find_superfluous(definition: Definition, granted: frozenset[str]) -> Iterator[str]:
    for grant in GRANTS:
        if grant.option in granted - definition.needs:
            yield (
                f"{definition.name} does not use {_shown(grant.placeholders, 'or')}, so it needs no "
                f"--{grant.option}: leave it out"
            )


def _find_unpermitted(definition: Definition) -> Iterator[str]:
    for name, resource in find_ungranted(definition.tasks, definition.needs):
        yield (
            f"the task {name} of {definition.name} uses {resource}, which needs permissions of its own: give "
            "them with --policy FILE"
        )


def _shown(placeholders: frozenset[str], word: str = "and") -> str:
    return f" {word} ".join(f"${{{name}}}" for name in sorted(placeholders))

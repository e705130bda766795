"""``voice-relay deploy connection`` and what calls through it, as they are typed."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.operating import Operator, Ran, Terminal, relay_of
from tests.integration.infra.relay import Relay, Webhook, unique, wait_for_execution
from tests.integration.workflow.calling import connection_parameters, credentials
from tests.support.third_parties import ThreadedThirdParty, third_party


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    """With waits, because connections take a while to be authorised."""
    with EmbeddedAws(wait_scale=0.02) as aws:
        yield aws


@pytest.fixture
def party() -> Iterator[ThreadedThirdParty]:
    with third_party() as party:
        yield party


class Desk:
    """The command line for one connection, ``crm``."""

    def __init__(self, operator: Operator, party: ThreadedThirdParty) -> None:
        self.operator = operator
        self.party = party
        self.stack = f"{operator.stack}-crm"
        self.printed: list[str] = []

    def run(self, command: str, *arguments: str) -> Ran:
        ran = self.operator.run_bare(
            command, "connection", "crm", "--relay-stack", self.operator.stack, *arguments
        )
        self.printed += [ran.out, ran.err]
        return ran

    def deploy(self, auth: str, *arguments: str) -> Ran:
        """Deploy the connection, with the credentials in a file."""
        given = connection_parameters(self.party, auth)
        options = ["--url", given["Url"], "--auth", auth, "--yes"]
        for option, name in (("--token-url", "TokenUrl"), ("--key-header", "KeyHeader")):
            options += [option, given[name]] if name in given else []
        if auth != "none":
            Path("credentials.json").write_text(json.dumps(credentials(self.party, auth)))
            options += ["--credentials-file", "credentials.json"]
        return self.run("deploy", *options, *arguments)


@pytest.fixture
def desk(operator: Operator, party: ThreadedThirdParty) -> Iterator[Desk]:
    desk = Desk(operator, party)
    yield desk
    # What uses the connection goes first.
    operator.run_bare("destroy", "workflow", "report", "--relay-stack", operator.stack, "--yes")
    desk.run("destroy", "--yes")


def _report(operator: Operator, relay: Relay) -> dict[str, Any]:
    """Have the bot report an event, and return the finished execution."""
    name = unique("report")
    assert relay.start(name, workflow="report").status == 200
    ran = operator.run_bare("outputs", "workflow", "report", "--relay-stack", operator.stack, "--json")
    arn = json.loads(ran.out)["StateMachineArn"].replace(":stateMachine:", ":execution:")
    return wait_for_execution(relay.aws, f"{arn}:{name}")


@pytest.fixture
def relay(aws: EmbeddedAws, operator: Operator, webhook: Webhook) -> Relay:
    Path("webhook").write_text(webhook.url)
    assert operator.deploy("--webhook-file", "webhook", "--create-access-key").code == 0
    return relay_of(aws, webhook, operator)


def _deploy_report(operator: Operator) -> Ran:
    return operator.run_bare(
        *("deploy", "workflow", "report", "--calls", "crm", "--relay-stack", operator.stack, "--yes")
    )


def test_bot_reports_through_login(desk: Desk, operator: Operator, relay: Relay) -> None:
    """The deployment logs in, and a change of the template that removes the token has it renewed."""
    ran = desk.deploy("login")
    assert (ran.code, ran.err) == (0, ""), ran
    assert desk.party.accounts.logins == 1
    deployed = _deploy_report(operator)
    assert (deployed.code, deployed.err) == (0, ""), deployed

    assert _report(operator, relay)["status"] == "SUCCEEDED"
    assert desk.party.statuses == [200]

    # This changes the connection itself, so the template's placeholder takes the token's place.
    changed = desk.deploy("login", "--key-header", "authorization")
    assert changed.code == 0
    assert desk.party.accounts.logins == 2
    assert _report(operator, relay)["status"] == "SUCCEEDED"
    assert desk.party.statuses == [200, 200]


def test_first_call_heals_removed_token(
    aws: EmbeddedAws, desk: Desk, operator: Operator, relay: Relay
) -> None:
    """A stack that something else updates loses the token, and the next call's 401 has it renewed."""
    assert desk.deploy("login").code == 0
    assert _deploy_report(operator).code == 0
    events = aws.client("events")
    (name,) = [
        each["Name"]
        for each in events.list_connections(NamePrefix=desk.stack)["Connections"]
        if not each["Name"].endswith("-login")
    ]
    events.update_connection(
        Name=name,
        AuthorizationType="API_KEY",
        AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "Authorization", "ApiKeyValue": "report"}},
    )

    assert _report(operator, relay)["status"] == "SUCCEEDED"
    assert desk.party.statuses == [401, 200]
    assert desk.party.accounts.logins == 2


def test_bot_learns_why_api_refused(desk: Desk, operator: Operator, relay: Relay) -> None:
    """The relay follows a report through its API, and what it learns becomes the dead letter's reason."""
    assert desk.deploy("none").code == 0
    assert _deploy_report(operator).code == 0
    desk.party.answer_next(422, {"error": "no such list"})

    refused = _report(operator, relay)

    told = json.loads(relay.status(refused["executionArn"], brief=True).json()["output"])
    assert (told["status"], told["error"]) == ("FAILED", "States.Http.StatusCode.422")
    assert json.loads(told["cause"]) == {"error": "no such list"}


def test_connection_without_credentials_recovers(
    aws: EmbeddedAws, desk: Desk, operator: Operator, relay: Relay
) -> None:
    """A 401 deauthorises it too, and a deployment that only repeats its parameters changes nothing."""
    assert desk.deploy("none").code == 0
    assert _deploy_report(operator).code == 0
    desk.party.answer_next(401, "not today")
    assert _report(operator, relay)["status"] == "FAILED"
    assert _report(operator, relay)["error"] == "Events.ConnectionResource.InvalidConnectionState"

    assert desk.deploy("none", "--renew-credentials").code == 0

    assert _report(operator, relay)["status"] == "SUCCEEDED"
    assert "There is nothing to change." in desk.deploy("none").out


def test_asks_for_credentials(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed is not shown; a stored credential is not asked for again."""
    typed = iter([desk.party.accounts.user, desk.party.accounts.password])
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    given = connection_parameters(desk.party, "login")
    options = ("--url", given["Url"], "--auth", "login", "--token-url", given["TokenUrl"], "--yes")

    assert desk.run("deploy", *options).code == 0
    assert list(typed) == []
    again = desk.run("deploy", *options)
    assert (again.code, "There is nothing to change." in again.out) == (0, True)


def test_wrong_password_is_told(desk: Desk) -> None:
    """The stack stands, and the message says what to do; the answer of the login stays unsaid."""
    Path("credentials.json").write_text(json.dumps({"username": "relay", "password": "planted-wrong"}))
    desk.party.fail_login_next(401, {"error": "planted-wrong is wrong"})
    given = connection_parameters(desk.party, "login")

    ran = desk.run(
        *("deploy", "--url", given["Url"], "--auth", "login", "--token-url", given["TokenUrl"], "--yes"),
        *("--credentials-file", "credentials.json"),
    )

    assert ran.code == 1
    assert "States.Http.StatusCode.401" in ran.err
    assert "--renew-credentials" in ran.err
    assert "planted" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--auth", "login"), "--auth login needs credentials"),
        ((), "say with --auth"),
        (("--auth", "none", "--destination", "mods"), "--destination applies to the relay only"),
        (("--auth", "none", "--credentials-file", "missing.json"), "give --parameter Url"),
        (("--auth", "basic", "--credentials-file", "missing.json"), "missing.json cannot be read"),
        (("--auth", "none", "--url", "x", "--parameter", "Url=y"), "Url is given twice"),
    ],
)
def test_names_what_is_missing(desk: Desk, arguments: tuple[str, ...], message: str) -> None:
    ran = desk.run("deploy", "--yes", *arguments)

    assert (ran.code, message in ran.err) == (2, True), ran.err


@pytest.mark.parametrize("name", ["monitoring", "workflow-x", "a b", ""])
def test_refuses_names_of_other_stacks(operator: Operator, name: str) -> None:
    ran = operator.run_bare("deploy", "connection", name, "--relay-stack", operator.stack, "--yes")

    assert (ran.code, "name the connection" in ran.err) == (2, True), ran.err


def test_destroy_names_what_uses_it(desk: Desk, operator: Operator, relay: Relay) -> None:
    assert desk.deploy("none").code == 0
    assert _deploy_report(operator).code == 0

    ran = desk.run("destroy", "--yes")

    assert ran.code == 1
    assert f"voice-relay destroy workflow report --relay-stack {operator.stack}" in ran.err


def test_destroy_removes_everything(aws: EmbeddedAws, desk: Desk) -> None:
    desk.deploy("login")

    ran = desk.run("destroy", "--yes")

    assert ran.code == 0
    assert "with the credentials" in ran.out
    held = [each["Name"] for each in aws.client("secretsmanager").list_secrets()["SecretList"]]
    assert not [name for name in held if desk.stack in name]
    assert not aws.client("events").list_connections(NamePrefix=desk.stack)["Connections"]


@pytest.mark.parametrize("auth", ["api-key", "basic", "oauth", "login"])
def test_shows_no_secret(aws: EmbeddedAws, desk: Desk, operator: Operator, relay: Relay, auth: str) -> None:
    """No history, log, template, event, output or line of the terminal has a credential or a token."""
    assert desk.deploy(auth).code == 0
    assert _deploy_report(operator).code == 0
    _report(operator, relay)
    desk.party.accounts.expire_tokens()
    _report(operator, relay)
    desk.party.answer_next(401, "no", times=2)
    _report(operator, relay)
    desk.party.fail_login_next(401, {"error": f"{desk.party.accounts.password} is wrong"})
    desk.party.accounts.expire_tokens()
    _report(operator, relay)

    shown = {
        **_shown_by_cloudformation(aws, desk.stack),
        **_shown_by_executions(aws),
        "logs": [
            aws.client("logs").filter_log_events(logGroupName=group["logGroupName"])
            for group in aws.client("logs")
            .get_paginator("describe_log_groups")
            .paginate()
            .build_full_result()["logGroups"]
        ],
        "connections": _shown_by_connections(aws),
        "terminal": desk.printed,
    }

    assert shown["executions"]
    for what, text in shown.items():
        found = [secret for secret in desk.party.accounts.secrets if secret in json.dumps(text, default=str)]
        assert not found, what


def _shown_by_cloudformation(aws: EmbeddedAws, stack: str) -> dict[str, Any]:
    cloudformation = aws.client("cloudformation")
    return {
        "template as sent": cloudformation.get_template(StackName=stack, TemplateStage="Original"),
        "template as processed": cloudformation.get_template(StackName=stack, TemplateStage="Processed"),
        "stack": cloudformation.describe_stacks(StackName=stack),
        "events": cloudformation.describe_stack_events(StackName=stack),
        "resources": cloudformation.describe_stack_resources(StackName=stack),
        "change sets": [
            cloudformation.describe_change_set(ChangeSetName=each["ChangeSetId"])
            for each in cloudformation.list_change_sets(StackName=stack)["Summaries"]
        ],
        "exports": cloudformation.get_paginator("list_exports").paginate().build_full_result(),
    }


def _shown_by_executions(aws: EmbeddedAws) -> dict[str, Any]:
    """Everything that Step Functions shows, of every state machine."""
    states = aws.client("stepfunctions")
    machines = [each["stateMachineArn"] for each in states.list_state_machines()["stateMachines"]]
    executions = [
        each["executionArn"]
        for machine in machines
        for each in states.list_executions(stateMachineArn=machine)["executions"]
    ]
    return {
        "machines": [states.describe_state_machine(stateMachineArn=machine) for machine in machines],
        "executions": [states.describe_execution(executionArn=arn) for arn in executions],
        "histories": [states.get_execution_history(executionArn=arn, maxResults=1000) for arn in executions],
    }


def _shown_by_connections(aws: EmbeddedAws) -> list[Any]:
    events = aws.client("events")
    names = [each["Name"] for each in events.list_connections()["Connections"]]
    return [events.describe_connection(Name=name) for name in names]

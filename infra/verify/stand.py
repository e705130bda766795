"""Builds up what a verification needs, and takes it down again whatever has happened in between."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import botocore.exceptions
import pydantic

from bot.errors import RelayError
from infra.deploy.connection_stack import deploy_connection
from infra.deploy.credentials import secret_name
from infra.deploy.definition import read_definition
from infra.deploy.destinations import DestinationChanges
from infra.deploy.destroy import describe_stack, destroy
from infra.deploy.engine import DeployOptions, deploy
from infra.deploy.stack_kinds import CONNECTION, STACK_KINDS, WORKFLOW
from infra.deploy.workflow_stack import OwnWorkflow, deploy_workflow, load_workflow
from infra.verify.site import PROBE, RUNNING, Site
from infra.verify.users import BOT, OPERATOR, STRANGER, create_user, delete_user

BRIEF: Final = "brief"
CALL: Final = "call"
BIN: Final = "bin"
"""The destination, and the connection, that lead to the request bin."""
OF_ACTIVITY: Final = "activity"
OF_MACHINE: Final = "machine"
ANY: Final = "any"
"""Users who may send a task's success: for one activity, for one state machine, for anything."""

_HERE: Final = Path(__file__).parent
_PARAMETERS: Final = {
    "Actions": "true",
    "DigestDelaySeconds": "0",
    "LogRetentionDays": "1",
    "ExecutionLogLevel": "ALL",
}
# A name that can never exist: https://www.rfc-editor.org/rfc/rfc6761#section-6.4
_NO_WEBHOOK: Final = "https://webhook.invalid/api/webhooks/1/none"
_BUSY_S: Final = 900.0
# IAM's changes take seconds to reach every part of AWS.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html
_SPREAD_S: Final = 180.0
_USERS: Final = 6

Say = Callable[[str], None]


def new_stack_name() -> str:
    return f"voice-relay-verify-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class _Made:
    """Something that may exist: how it is removed, and how to do so by hand."""

    what: str
    remove: Callable[[], None]
    by_hand: str


@dataclass
class Stand:
    """Deploys everything for *site*; ``remove`` may be called at any moment."""

    site: Site
    options: DeployOptions
    webhook: pydantic.SecretStr | None = None
    request_bin: str | None = None
    _made: list[_Made] = field(default_factory=list)

    def describe(self) -> Iterator[str]:
        """Say what will be created."""
        stack = self.site.stack
        yield f"the stack {stack}, a relay of its own, and its secret {stack}/webhooks"
        yield f"a stack for each of the workflows {', '.join(self._workflows())}"
        if self.request_bin is not None:
            yield f"the stack {stack}-{BIN}, a connection to the request bin"
        yield f"{_USERS} IAM users {stack}-…, whose keys stay in this process"

    def build(self, say: Say) -> None:
        """Deploy the relay, its users and the workflows; raises RelayError."""
        site = self.site
        say(f"Deploying the relay {site.stack}")
        self._expect(site.stack, lambda: self._destroy(site.stack, has_secret=True), "relay")
        site.outputs = deploy(
            site.account.client,
            webhook_url=self.webhook or pydantic.SecretStr(_NO_WEBHOOK),
            stack_name=site.stack,
            parameters=_PARAMETERS,
            destinations=DestinationChanges(
                webhooks={BIN: pydantic.SecretStr(self.request_bin)} if self.request_bin else {}
            ),
            options=self.options,
        )
        say("Creating the users")
        self._create_users()
        if self.request_bin is not None:
            self._deploy_connection(self.request_bin, say)
        for name in self._workflows():
            self._deploy_workflow(name, say)
        say("Waiting until the users are known everywhere")
        self._wait_until_known()

    def remove(self, say: Say) -> list[str]:
        """Remove all of it, and return what is left and how to remove that."""
        failed: list[str] = []
        try:
            self._stop_executions()
            while self._made:
                made = self._made[-1]
                say(f"Removing {made.what}")
                try:
                    made.remove()
                except RelayError as error:
                    failed.append(f"cannot remove {made.what}: {error}; remove it with: {made.by_hand}")
                self._made.pop()
        except KeyboardInterrupt:
            failed += [f"{made.what} may be left: remove it with: {made.by_hand}" for made in self.left()]
        return failed

    def left(self) -> list[_Made]:
        """Return what there may still be, in the order in which it can be removed."""
        return self._made[::-1]

    def _workflows(self) -> tuple[str, ...]:
        return (PROBE, BRIEF, "escort", "admit", *((CALL, "report") if self.request_bin else ()))

    def _expect(self, what: str, remove: Callable[[], None], title: str) -> None:
        relay = "--stack-name" if title == "relay" else f"{title} --relay-stack"
        region = self.site.account.region
        command = f"voice-relay destroy {relay} {self.site.stack} --region {region} --no-env"
        self._made.append(_Made(f"the stack {what}", remove, command.replace("destroy relay ", "destroy ")))

    def _create_users(self) -> None:
        site, iam = self.site, self.site.account.client("iam")
        outputs = site.outputs
        send = {"Effect": "Allow", "Action": "states:SendTaskSuccess"}
        machine = outputs["NotifyStateMachineArn"].replace(f"{site.stack}-notify", f"{site.stack}-{PROBE}")
        resources = {OF_ACTIVITY: outputs["ActionsActivityArn"], OF_MACHINE: machine, ANY: "*"}
        policies = {BOT: [outputs["BotPolicyArn"]], OPERATOR: [outputs["OperatorPolicyArn"]], STRANGER: []}
        for user, attached in policies.items():
            self._create_user(iam, user, policies=attached)
        for user, resource in resources.items():
            self._create_user(iam, user, statement={**send, "Resource": resource})

    def _create_user(self, iam: Any, user: str, **permissions: Any) -> None:
        name = f"{self.site.stack}-{user}"
        by_hand = f"aws iam delete-user --user-name {name}, after its access keys and its policies"
        self._made.append(_Made(f"the user {name}", lambda: delete_user(iam, name), by_hand))
        self.site.users[user] = create_user(iam, name, **permissions)

    def _wait_until_known(self) -> None:
        """Wait until every key works, and what its user may do is allowed."""
        site = self.site
        for user in site.users:
            ask = site.client_as(user, "sts").get_caller_identity
            site.wait_for(partial(_try, ask), f"the key of {user}", timeout_s=_SPREAD_S)
        routes = [(user, "/executions/status") for user in (OPERATOR, BOT)]
        routes += [(BOT, f"/workflows/{name}") for name in self._workflows()]
        for user, route in routes:
            what = f"{route} to admit {user}"
            site.wait_for(partial(_is_admitted, site, user, route), what, timeout_s=_SPREAD_S)

    def _deploy_connection(self, url: str, say: Say) -> None:
        name = STACK_KINDS[CONNECTION].stack_name(self.site.stack, BIN)
        say(f"Deploying the connection {name}")
        self._expect(
            name,
            lambda: self._destroy(name, has_secret=True, secret=secret_name(name)),
            f"connection {BIN}",
        )
        self.site.workflows[BIN] = deploy_connection(
            self.site.account.client,
            stack_name=name,
            parameters={"Url": url, "Auth": "none"},
            find=lambda _: None,
            options=self.options,
        )

    def _deploy_workflow(self, workflow: str, say: Say) -> None:
        name = STACK_KINDS[WORKFLOW].stack_name(self.site.stack, workflow)
        say(f"Deploying the workflow {workflow}")
        self._expect(name, lambda: self._destroy(name), f"workflow {workflow}")
        self.site.workflows[workflow] = deploy_workflow(
            self.site.account.client, _load(workflow), relay_stack=self.site.stack, options=self.options
        )

    def _destroy(self, name: str, *, has_secret: bool = False, secret: str | None = None) -> None:
        self._wait_until_idle(name)
        destroy(
            self.site.account.client,
            stack_name=name,
            secret_name=secret,
            has_secret=has_secret,
            poll_s=self.options.poll_s,
            sleep=self.options.sleep,
            on_event=self.options.on_event,
        )

    def _wait_until_idle(self, name: str) -> None:
        """Wait for a deployment that was interrupted: CloudFormation continues with it."""
        deadline = time.monotonic() + _BUSY_S
        with suppress(RelayError):
            while time.monotonic() < deadline:
                status = describe_stack(self.site.account.client, name)[1]
                if not status.endswith("_IN_PROGRESS") or status.startswith("REVIEW_"):
                    return
                self.options.sleep(self.options.poll_s)

    def _stop_executions(self) -> None:
        """Stop what still runs: a state machine with executions is deleted only after them."""
        states = self.site.states
        for arn in self.site.started:
            with suppress(botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
                if states.describe_execution(executionArn=arn)["status"] == RUNNING:
                    states.stop_execution(executionArn=arn)


def _try(call: Callable[[], Any]) -> Any:
    """Return the answer; ``None`` for an error of AWS."""
    with suppress(botocore.exceptions.ClientError):
        return call()
    return None


def _is_admitted(site: Site, user: str, route: str) -> bool | None:
    return site.post(route, {}, who=user).status != 403 or None


def _load(name: str) -> OwnWorkflow:
    path = _HERE / f"{name}.asl.json"
    workflow = OwnWorkflow(read_definition(path, name=name)) if path.exists() else load_workflow(name)
    return replace(workflow, connection=BIN) if "calls" in workflow.definition.needs else workflow

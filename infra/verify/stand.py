"""Deploys what a verification needs: a relay of its own, users, and workflows with stacks of their own."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import botocore.exceptions
import pydantic

from infra.deploy.aws_errors import DeployError
from infra.deploy.connection_stack import deploy_connection
from infra.deploy.definition import read_definition
from infra.deploy.destinations import DestinationChanges
from infra.deploy.engine import DeployOptions, deploy, deploy_template
from infra.deploy.stack_kinds import CONNECTION, STACK_KINDS
from infra.deploy.workflow_stack import OwnWorkflow, deploy_workflow, load_workflow
from infra.verify.removal import BIN, CALLING, MONITORING, WORKFLOWS, Say
from infra.verify.site import PROBE, Site
from infra.verify.users import (
    ANY,
    BOT,
    OF_ACTIVITY,
    OF_MACHINE,
    OPERATOR,
    STRANGER,
    USERS,
    create_user,
)

_HERE: Final = Path(__file__).parent
_PARAMETERS: Final = {
    "Actions": "true",
    "DigestDelaySeconds": "0",
    "LogRetentionDays": "1",
    "ExecutionLogLevel": "ALL",
}
# No webhook of anybody's; without one of the caller's, nothing is posted to it.
_NO_WEBHOOK: Final = "https://discord.com/api/webhooks/1/none"
# IAM's changes take seconds to reach every part of AWS, and so does a new route.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html
_SPREAD_S: Final = 180.0
_UNKNOWN: Final = (403, 404)


@dataclass
class Stand:
    """Deploys everything for *site*."""

    site: Site
    options: DeployOptions
    webhook: pydantic.SecretStr | None = None
    request_bin: str | None = None

    def describe(self) -> Iterator[str]:
        """Say what will be created."""
        stack = self.site.stack
        yield f"the stack {stack}, a relay of its own, and its secret {stack}/webhooks"
        yield f"a stack for each of the workflows {', '.join(self._workflows())}"
        if self.request_bin is not None:
            yield f"the stack {stack}-{BIN}, a connection to the request bin"
        if self.site.wait_metrics_s:
            yield f"the stack {stack}-{MONITORING}, its alarms"
        yield f"{len(USERS)} IAM users {stack}-…, whose keys stay in this process"

    def build(self, say: Say) -> None:
        """Deploy the relay, its users and the workflows; raises RelayError."""
        site = self.site
        say(f"Deploying the relay {site.stack}")
        to_bin = {BIN: pydantic.SecretStr(self.request_bin)} if self.request_bin else {}
        site.outputs = deploy(
            site.account.client,
            webhook_url=self.webhook or pydantic.SecretStr(_NO_WEBHOOK),
            stack_name=site.stack,
            parameters=_PARAMETERS,
            destinations=DestinationChanges(webhooks=to_bin),
            options=self.options,
        )
        if site.wait_metrics_s:
            self._deploy_monitoring(say)
        say("Creating the users")
        self._create_users()
        if self.request_bin is not None:
            self._deploy_connection(self.request_bin, say)
        for name in self._workflows():
            say(f"Deploying the workflow {name}")
            site.workflows[name] = deploy_workflow(
                site.account.client, load(name), relay_stack=site.stack, options=self.options
            )
        say("Waiting until the users and the routes are known everywhere")
        self._wait_until_known()

    def _workflows(self) -> tuple[str, ...]:
        return (*WORKFLOWS, *(CALLING if self.request_bin else ()))

    def _create_users(self) -> None:
        site, iam = self.site, self.site.account.client("iam")
        outputs = site.outputs
        policies = {BOT: [outputs["BotPolicyArn"]], OPERATOR: [outputs["OperatorPolicyArn"]], STRANGER: []}
        for user, attached in policies.items():
            site.users[user] = create_user(iam, f"{site.stack}-{user}", policies=attached)
        machine = outputs["NotifyStateMachineArn"].removesuffix("notify") + PROBE
        resources = {OF_ACTIVITY: outputs["ActionsActivityArn"], OF_MACHINE: machine, ANY: "*"}
        for user, resource in resources.items():
            may = {"Effect": "Allow", "Action": "states:SendTaskSuccess", "Resource": resource}
            site.users[user] = create_user(iam, f"{site.stack}-{user}", statement=may)

    def _wait_until_known(self) -> None:
        """Wait until every key works, and each route admits who may use it; raises DeployError."""
        try:
            self._wait_for_users()
        except TimeoutError as error:
            raise DeployError(f"{error}: run the same command again") from error

    def _wait_for_users(self) -> None:
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
        self.site.workflows[BIN] = deploy_connection(
            self.site.account.client,
            stack_name=name,
            parameters={"Url": url, "Auth": "none"},
            find=lambda _: None,
            options=self.options,
        )

    def _deploy_monitoring(self, say: Say) -> None:
        kind = STACK_KINDS[MONITORING]
        say("Deploying the alarms")
        deploy_template(
            self.site.account.client,
            kind.template,
            stack_name=kind.stack_name(self.site.stack),
            defaults={"RelayStack": self.site.stack},
            options=self.options,
        )


def _try(call: Callable[[], Any]) -> Any:
    """Return the answer; ``None`` for an error of AWS, or while its name is not known yet."""
    with suppress(botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
        return call()
    return None


def _is_admitted(site: Site, user: str, route: str) -> bool | None:
    answer = _try(partial(site.post, route, {}, who=user))
    return (answer is not None and answer.status not in _UNKNOWN) or None


def load(name: str) -> OwnWorkflow:
    """Return the workflow of a verification of this name, or else the bundled one."""
    path = _HERE / f"{name}.asl.json"
    workflow = OwnWorkflow(read_definition(path, name=name)) if path.exists() else load_workflow(name)
    return replace(workflow, connection=BIN) if "calls" in workflow.definition.needs else workflow

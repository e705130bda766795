"""Deploys a workflow as a stack of its own, which only adds to the relay's: a route and two policies."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bot.errors import SettingsError
from infra.deploy.aws_errors import DeployError, explained
from infra.deploy.definition import Definition, read_definition
from infra.deploy.engine import ClientFactory, DeployOptions, deploy_template
from infra.deploy.grants import GRANTS, find_methods, find_ungranted
from infra.deploy.policy_file import Statements, read_policy
from infra.deploy.stack import Stack
from infra.deploy.stack_events import ignore
from infra.deploy.stack_kinds import STACK_KINDS, WORKFLOW
from infra.deploy.template import Template, load_template
from workflow.registry import WORKFLOWS

KIND: Final = STACK_KINDS[WORKFLOW]

# What every such stack imports from the relay's, and what one with a grant does.
_OUTPUTS: Final = (
    *("IngressApiId", "ProxyApiId", "BotPolicyArn"),
    *("IngressIntegrationRoleName", "StatusStateMachineRoleName"),
)
_OUTPUTS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "acts": ("ActionsActivityArn",),
    "waits": ("WaitsTableName", "WaitsTableArn"),
}
_OUTPUTS_OF_CONNECTION: Final = ("ConnectionArn", "ConnectionSecretArn", "CallUrl", "Renewal")
# Comes after its role's further permissions, and goes before them: for .sync tasks, Step Functions
# wants a role that may create managed rules. https://github.com/terraform-aws-modules/terraform-aws-step-functions/issues/61
_MACHINE: Final = re.compile(r"^(?P<indent> +)Type: AWS::StepFunctions::StateMachine\n", re.MULTILINE)
# Parameters that a new stack takes over from the relay's.
_SHARED: Final = ("AllowedCidrs", "LogRetentionDays", "ExecutionLogLevel", "Tracing", "PermissionsBoundary")
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachine.html
_MAX_MACHINE_NAME: Final = 80


@dataclass(frozen=True)
class OwnWorkflow:
    """A workflow with a stack of its own, the connection that it calls through, further permissions."""

    definition: Definition
    connection: str | None = None
    statements: Statements = ()

    @property
    def name(self) -> str:
        return self.definition.name

    def template(self) -> Template:
        """Return the template with the definition and the further permissions in it."""
        if not self.statements:
            return load_template(KIND.template, definition=self.definition.text)
        template = load_template(
            KIND.template, definition=self.definition.text, resources=_render_policy(self.statements)
        )
        return replace(
            template, body=_MACHINE.sub(r"\g<0>\g<indent>DependsOn: FurtherPolicy\n", template.body)
        )

    def parameters(self) -> dict[str, str]:
        needs = self.definition.needs
        switches = {grant.parameter: str(grant.option in needs).lower() for grant in GRANTS}
        methods = find_methods(self.definition.tasks)
        return {
            **switches,
            "Workflow": self.name,
            "Connection": self.connection or "",
            **({"CallMethods": ",".join(methods)} if methods else {}),
        }


def load_workflow(name: str, path: Path | None = None) -> OwnWorkflow:
    """Return the workflow whose definition is in *path*, or the bundled one of this *name*.

    ``NAME.policy.json`` beside the definition has further permissions, if it exists. Raises SettingsError.
    """
    definition = read_definition(path or WORKFLOWS[name].definition, name=name)
    policy = (path or WORKFLOWS[name].definition).with_name(f"{name}.policy.json")
    statements = read_policy(policy) if policy.is_file() else ()
    ungranted = () if statements else find_ungranted(definition.tasks, definition.needs)
    if problems := [
        f"the task {task} of {name} uses {resource}, which needs permissions of its own: write {policy}"
        for task, resource in ungranted
    ]:
        raise SettingsError(problems)
    return OwnWorkflow(definition, statements=statements)


def deploy_workflow(
    client: ClientFactory,
    workflow: OwnWorkflow,
    *,
    relay_stack: str,
    stack_name: str | None = None,
    parameters: Mapping[str, str] | None = None,
    options: DeployOptions | None = None,
) -> dict[str, str]:
    """Create or update the workflow's stack and return its outputs; raises DeployError, DeclinedError.

    Every user and role with the relay's bot policy may start it.
    """
    relay = Stack(client("cloudformation"), relay_stack, on_event=ignore, poll_s=0)
    outputs = _read_outputs(client, relay, workflow)
    machine = f"{relay_stack}-{workflow.name}"
    if len(machine) > _MAX_MACHINE_NAME:
        raise DeployError(
            f"the state machine's name {machine} has {len(machine)} characters, but may have at most "
            f"{_MAX_MACHINE_NAME}: give the workflow a shorter name with --name"
        )
    held = relay.parameters()
    return deploy_template(
        client,
        workflow.template(),
        stack_name=stack_name or KIND.stack_name(relay_stack, workflow.name),
        parameters={
            **workflow.parameters(),
            "RelayStack": relay_stack,
            **find_bots(client, outputs["BotPolicyArn"]),
            **(parameters or {}),
        },
        defaults={name: held[name] for name in _SHARED if name in held},
        options=options,
    )


def find_bots(client: ClientFactory, policy_arn: str) -> dict[str, str]:
    """Return the names of the users and roles with the policy, as the template's parameters."""
    with explained(f"policy {policy_arn}"):
        pages = list(client("iam").get_paginator("list_entities_for_policy").paginate(PolicyArn=policy_arn))
    users = [user["UserName"] for page in pages for user in page.get("PolicyUsers", ())]
    roles = [role["RoleName"] for page in pages for role in page.get("PolicyRoles", ())]
    return {"BotUsers": ",".join(sorted(users)), "BotRoles": ",".join(sorted(roles))}


def _read_outputs(client: ClientFactory, relay: Stack, workflow: OwnWorkflow) -> dict[str, str]:
    """Return the relay's outputs; DeployError if they, or the connection's, lack what the stack imports."""
    outputs = relay.outputs() if relay.exists() else {}
    if not outputs:
        raise DeployError(
            f"there is no relay {relay.name}: deploy it first with voice-relay deploy, or name its stack "
            "with --relay-stack"
        )
    needs = workflow.definition.needs
    if "acts" in needs and "ActionsActivityArn" not in outputs:
        raise DeployError(
            f"{workflow.name} has the bot act in Discord, which the relay {relay.name} does not allow: "
            "deploy the relay with --parameter Actions=true, and name the actions in VOICE_RELAY_ACTIONS"
        )
    wanted = (*_OUTPUTS, *(name for option in sorted(needs) for name in _OUTPUTS_OF.get(option, ())))
    if missing := [name for name in wanted if name not in outputs]:
        raise DeployError(
            f"the relay {relay.name} lacks {', '.join(missing)}, because an older voice-relay deployed it: "
            "deploy it again with voice-relay deploy"
        )
    if workflow.connection is not None:
        _check_connection(client, f"{relay.name}-{workflow.connection}")
    return outputs


def _check_connection(client: ClientFactory, name: str) -> None:
    stack = Stack(client("cloudformation"), name, on_event=ignore, poll_s=0)
    outputs = stack.outputs() if stack.exists() else {}
    if missing := [each for each in _OUTPUTS_OF_CONNECTION if each not in outputs]:
        raise DeployError(
            f"there is no connection in the stack {name} (it lacks {', '.join(missing)}): deploy it first "
            "with voice-relay deploy connection, or name another with --calls"
        )


def _render_policy(statements: Statements) -> str:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    resource: dict[str, Any] = {
        "Type": "AWS::IAM::Policy",
        "Properties": {
            "PolicyName": "further-permissions",
            "Roles": [{"Ref": "MachineRole"}],
            "PolicyDocument": document,
        },
    }
    # JSON is YAML too.
    return f"  FurtherPolicy: {json.dumps(resource)}\n"

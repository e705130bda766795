"""Removes what a verification made, or began to make: everything that can have its name, if it exists.

No list of what was made is needed, so that also what a killed process left behind can be removed.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from bot.errors import RelayError
from infra.deploy.account import Account
from infra.deploy.aws_errors import DeployError, explained
from infra.deploy.credentials import secret_name
from infra.deploy.destroy import describe_stack, destroy
from infra.deploy.engine import DeployOptions, default_secret_name
from infra.deploy.stack import Stack
from infra.deploy.stack_kinds import CONNECTION, STACK_KINDS, WORKFLOW
from infra.verify.site import PROBE, RUNNING
from infra.verify.users import USERS, delete_user

BRIEF: Final = "brief"
CALL: Final = "call"
BIN: Final = "bin"
"""The destination, and the connection, that lead to the request bin."""
WORKFLOWS: Final = (PROBE, BRIEF, "escort", "admit")
CALLING: Final = (CALL, "report")
"""Workflows that call the request bin."""
MONITORING: Final = "monitoring"

_NAME: Final = re.compile(r"voice-relay-verify-[0-9a-f]{6}")
# CloudFormation continues with a deployment that was interrupted.
_BUSY_S: Final = 900.0

Say = Callable[[str], None]
_Step = tuple[str, Callable[[], bool]]
"""What it removes, and a function that does and says whether there was anything."""


def new_stack_name() -> str:
    return f"voice-relay-verify-{secrets.token_hex(3)}"


def is_stack_name(name: str) -> bool:
    """Say whether *name* is that of a verification's relay, and not of another one."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class Removal:
    """Removes the verification whose relay is the stack *stack*."""

    account: Account
    stack: str
    options: DeployOptions

    def remove(self, say: Say) -> list[str]:
        """Remove all of it, and return what is left and how to remove that."""
        failed: list[str] = []
        try:
            for what, step in self._steps():
                try:
                    if step():
                        say(f"Removed {what}")
                except RelayError as error:
                    failed.append(f"cannot remove {what}: {error}")
        except KeyboardInterrupt:
            failed.append("interrupted while removing what was made")
        return [*failed, f"something may be left: remove it with {self.command}"] if failed else []

    @property
    def command(self) -> str:
        return f"voice-relay verify --remove {self.stack} --region {self.account.region}"

    def _steps(self) -> Iterator[_Step]:
        """Yield what there may be, in the order in which it can be removed."""
        yield "the executions that still ran", self._stop_executions
        yield self._stack_step(STACK_KINDS[MONITORING].stack_name(self.stack))
        for workflow in (*CALLING, *WORKFLOWS):
            yield self._stack_step(STACK_KINDS[WORKFLOW].stack_name(self.stack, workflow))
        connection = STACK_KINDS[CONNECTION].stack_name(self.stack, BIN)
        yield self._stack_step(connection, secret_name(connection))
        iam = self.account.client("iam")
        for user in USERS:
            name = f"{self.stack}-{user}"
            yield f"the user {name}", partial(delete_user, iam, name)
        yield self._stack_step(self.stack, default_secret_name(self.stack))

    def _stack_step(self, name: str, secret: str | None = None) -> _Step:
        return f"the stack {name}", partial(self._destroy, name, secret)

    def _destroy(self, name: str, secret: str | None) -> bool:
        """Delete the stack and its secret; return whether there was a stack."""
        client, options = self.account.client, self.options
        exists = Stack(client("cloudformation"), name, on_event=options.on_event, poll_s=0).exists()
        if exists:
            self._wait_until_idle(name)
        destroy(
            client,
            stack_name=name,
            secret_name=secret,
            has_secret=secret is not None,
            poll_s=options.poll_s,
            sleep=options.sleep,
            on_event=options.on_event,
        )
        return exists

    def _wait_until_idle(self, name: str) -> None:
        deadline = time.monotonic() + _BUSY_S
        with suppress(DeployError):
            while time.monotonic() < deadline:
                status = describe_stack(self.account.client, name)[1]
                if not status.endswith("_IN_PROGRESS") or status.startswith("REVIEW_"):
                    return
                self.options.sleep(self.options.poll_s)

    def _stop_executions(self) -> bool:
        """Stop what still runs: a state machine with executions is deleted only after them."""
        states = self.account.client("stepfunctions")
        with explained("executions"):
            running = [
                execution["executionArn"]
                for machine in _list(states, "list_state_machines", "stateMachines")
                if machine["name"].startswith(f"{self.stack}-") and machine["type"] == "STANDARD"
                for execution in _list(
                    states,
                    "list_executions",
                    "executions",
                    stateMachineArn=machine["stateMachineArn"],
                    statusFilter=RUNNING,
                )
            ]
            for arn in running:
                states.stop_execution(executionArn=arn)
        return bool(running)


def _list(client: Any, operation: str, key: str, **which: str) -> list[Any]:
    return [each for page in client.get_paginator(operation).paginate(**which) for each in page[key]]

"""The role of the state machine that runs a task.

A task acts as its state machine's role, but ministack passes tasks only their input, so a context variable
tracks the running machine.
"""

import contextvars
from collections.abc import Mapping
from typing import Any

from infra.local.aws.credentials import Credentials
from infra.local.aws.hooks.seam import Seam, module
from infra.local.aws.hooks.service_roles import NotTrusted, ServiceRoles

_STATES = "ministack.services.stepfunctions"
_RUN = Seam(_STATES, "_run_execution", ("exec_arn",))
SEAMS = (_RUN, Seam(_STATES, "_execute_task", ("state_def", "raw_input", "execution", "ctx")))

# ministack copies the context into the threads that it starts for branches, items and timeouts.
_state_machine: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("state_machine")


def machine_arn() -> str:
    """Return the ARN of the state machine that this thread executes."""
    arn: str = _state_machine.get()["stateMachineArn"]
    return arn


class MachineRole:
    """Credentials of the role of the state machine that this thread executes."""

    def __init__(self) -> None:
        self._roles = ServiceRoles("states.amazonaws.com", "states")
        self._error = module(_STATES)._ExecutionError

    def assume(self, region: str) -> Credentials:
        """Assume the role; raises the task's error if Step Functions may not assume it."""
        machine = _state_machine.get()
        try:
            return self._roles.assume(
                machine["roleArn"], source_arn=machine["stateMachineArn"], region=region
            )
        except NotTrusted as error:
            cause = f"Neither the global service principal states.amazonaws.com can assume the role {error}"
            raise self._error("States.TaskFailed", cause) from None


def install() -> None:
    run = _RUN.original()
    states = module(_STATES)

    def run_execution(exec_arn: str) -> None:
        # Runs in its own thread and context, so the variable needs no reset.
        _state_machine.set(states._state_machines[states._executions[exec_arn]["stateMachineArn"]])
        run(exec_arn)

    _RUN.replace(run_execution)

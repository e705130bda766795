"""Which workflows there are, and what the bot, the deployment and the tests must know about each.

A leaf: it imports only the models of parameters, so everything else may read it.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from workflow.parameters import AdmitParameters, EscortParameters, Parameters, ReportParameters

_FOLDER: Final = Path(__file__).parent


class Kind(enum.StrEnum):
    """The type of state machine, as CloudFormation spells it."""

    # https://docs.aws.amazon.com/step-functions/latest/dg/choosing-workflow-type.html
    STANDARD = "STANDARD"
    """An execution of a given name happens once, and its history can be read for 90 days."""
    EXPRESS = "EXPRESS"
    """No record of an execution is kept, so nothing can be asked about it afterwards."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """One workflow.

    *startable*: ``POST /workflows/NAME`` starts it, rather than a route of its own.
    *posts*: it posts to the destination in its input, and succeeds only if Discord took the message.
    *followed*: the relay follows an execution to its end, and its events are delivered only if it succeeded.
    *max_events* is how many events one execution takes unless a rule or BATCH_MAX_EVENTS says otherwise,
    within 200 KiB in any case; ``None`` for a workflow that takes none.
    *parameters* is the model of what a rule may hand to it, ``None`` if it takes no parameters.
    *signals* are those that its executions wait for and the relay may send.
    *own_stack*: it is deployed as a stack of its own beside the relay's, by ``voice-relay deploy workflow``,
    rather than with ``infra/relay.yaml``.
    *of_connection*: it renews the token of a connection, whose stack (``infra/connection.yaml``) has it.
    """

    name: str
    kind: Kind
    startable: bool = True
    posts: bool = False
    followed: bool = False
    max_events: int | None = None
    parameters: type[Parameters] | None = None
    signals: tuple[str, ...] = ()
    own_stack: bool = False
    of_connection: bool = False

    @property
    def routable(self) -> bool:
        """Whether a rule may name it: whether it takes events."""
        return self.max_events is not None

    @property
    def of_relay(self) -> bool:
        """Whether ``infra/relay.yaml`` has it."""
        return not (self.own_stack or self.of_connection)

    @property
    def definition(self) -> Path:
        return _FOLDER / f"{self.name}.asl.json"

    @property
    def policy(self) -> Path | None:
        """Further permissions for its role, in a stack of its own: a JSON list of IAM statements."""
        path = _FOLDER / f"{self.name}.policy.json"
        return path if path.is_file() else None

    @property
    def logical_id(self) -> str:
        """The state machine in ``infra/relay.yaml``."""
        return f"{self.name.title()}StateMachine"

    @property
    def output(self) -> str:
        """The stack's output with the state machine's ARN."""
        return f"{self.logical_id}Arn"


MAX_EVENTS: Final = 400
"""More than the 200 KiB of a batch hold: about 320 events of 640 bytes, and the smallest has 600.

For a workflow that does not show each event, and for one that is not in this registry.
"""
_MAX_LINES: Final = 38
"""So many lines fit whole into one message of notify, even the longest that are common."""

WORKFLOWS: Final[Mapping[str, Workflow]] = MappingProxyType(
    {
        workflow.name: workflow
        for workflow in (
            Workflow("notify", Kind.STANDARD, posts=True, followed=True, max_events=_MAX_LINES),
            Workflow("digest", Kind.STANDARD, posts=True, followed=True, max_events=MAX_EVENTS),
            Workflow("heartbeat", Kind.EXPRESS),
            Workflow("status", Kind.EXPRESS, startable=False),
            Workflow("signal", Kind.EXPRESS, startable=False),
            Workflow(
                "admit",
                Kind.STANDARD,
                max_events=1,
                parameters=AdmitParameters,
                signals=("withdraw",),
                own_stack=True,
            ),
            Workflow("escort", Kind.STANDARD, max_events=1, parameters=EscortParameters, own_stack=True),
            Workflow(
                "report",
                Kind.STANDARD,
                followed=True,
                max_events=1,
                parameters=ReportParameters,
                own_stack=True,
            ),
            Workflow("login", Kind.EXPRESS, startable=False, of_connection=True),
            Workflow("refresh", Kind.STANDARD, startable=False, of_connection=True),
        )
    }
)


def max_events(name: str) -> int:
    """Return how many events one execution of the workflow *name*, known or not, takes by default."""
    workflow = WORKFLOWS.get(name)
    return (workflow and workflow.max_events) or MAX_EVENTS


def is_followed(name: str) -> bool:
    """Say whether the relay follows executions of the workflow *name* to their end."""
    workflow = WORKFLOWS.get(name)
    return workflow is not None and workflow.followed

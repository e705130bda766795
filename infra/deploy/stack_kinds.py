"""The kinds of stack that can be deployed, by their names on the command line."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parents[1]

RELAY: Final = "relay"
WORKFLOW: Final = "workflow"
CONNECTION: Final = "connection"


@dataclass(frozen=True)
class StackKind:
    """A template and how its stack is named: the relay stack's name plus ``suffix``, up to ``max_name``
    characters. ``shown`` lists the outputs printed after a deployment.
    """

    name: str
    template: Path
    suffix: str
    shown: tuple[str, ...]
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
    max_name: int = 128

    @property
    def is_relay(self) -> bool:
        return self.name == RELAY

    @property
    def is_workflow(self) -> bool:
        return self.name == WORKFLOW

    @property
    def is_connection(self) -> bool:
        return self.name == CONNECTION

    @property
    def takes_name(self) -> bool:
        """Whether there can be several of this kind, each with a name."""
        return self.is_workflow or self.is_connection

    def stack_name(self, relay_stack: str, workflow: str = "") -> str:
        return relay_stack + self.suffix + workflow


STACK_KINDS: Final[Mapping[str, StackKind]] = {
    kind.name: kind
    for kind in (
        # The user's name is the stack's plus -bot, and IAM allows 64 characters.
        StackKind(RELAY, _HERE / "relay.yaml", "", ("ApiEndpoint", "BotPolicyArn"), max_name=60),
        # One for each workflow, whose name follows.
        StackKind(WORKFLOW, _HERE / "workflow.yaml", "-workflow-", ("StateMachineArn", "StartPolicyArn")),
        # One for each API, likewise. EventBridge allows 64 characters, of which -login takes some.
        StackKind(CONNECTION, _HERE / "connection.yaml", "-", ("ConnectionArn", "Renewal"), max_name=58),
        StackKind("monitoring", _HERE / "monitoring.yaml", "-monitoring", ("DashboardUrl",)),
        StackKind("service", _HERE / "service.yaml", "-service", ("ClusterName", "ServiceName", "LogName")),
        StackKind(
            "github-oidc",
            _HERE / "github-oidc.yaml",
            "-github",
            ("DeployRoleArn", "CloudFormationRoleArn", "PermissionsBoundaryArn", "ImageRepositoryUri"),
        ),
    )
}

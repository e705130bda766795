"""Which stack is meant, in which account: the options that ``deploy``, ``destroy`` and ``outputs`` share."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import botocore.exceptions

from bot.cli.parser import Arguments, CommandParser
from bot.errors import SettingsError
from bot.settings.values import region_of
from bot.text import escape
from infra.deploy.access_key import KEY_ID
from infra.deploy.account import Account, open_account
from infra.deploy.aws_errors import DeployError
from infra.deploy.definition import workflow_name
from infra.deploy.engine import DEFAULT_STACK_NAME
from infra.deploy.env_file import EnvFile
from infra.deploy.stack_kinds import RELAY, STACK_KINDS, StackKind

ENDPOINT: Final = "VOICE_RELAY_API_ENDPOINT"
ACTIONS: Final = "VOICE_RELAY_ACTIONS"
ACTIVITY: Final = "VOICE_RELAY_ACTIVITY_ARN"
DESTINATIONS: Final = "VOICE_RELAY_DESTINATIONS"
WORKFLOWS: Final = "VOICE_RELAY_WORKFLOWS"
REGION: Final = "VOICE_RELAY_AWS_REGION"

# https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
_STACK_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_CONNECTION_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


@dataclass(frozen=True)
class StackOptions:
    """``relay_stack`` is the relay's stack, whichever is meant; ``env_file`` has the bot's settings.

    ``workflow`` is the name of a workflow with a stack of its own, or of a connection, and empty for other
    kinds.
    """

    kind: StackKind
    name: str
    relay_stack: str
    region: str | None
    profile: str | None
    env_file: EnvFile | None
    workflow: str = ""

    @property
    def title(self) -> str:
        """What names this kind of stack on the command line."""
        return f"{self.kind.name} {self.workflow}".rstrip()

    def open_account(self) -> Account:
        """Open the account that is meant; raises SettingsError, DeployError."""
        try:
            return open_account(profile=self.profile, region=self.region, known_region=self._known_region())
        except DeployError as error:
            lacks = isinstance(error.__cause__, botocore.exceptions.NoCredentialsError)
            if not (lacks and self.env_file is not None and KEY_ID in self.env_file.values()):
                raise
            raise DeployError(
                f"{error} (the bot's key in {self.env_file.path} is not used for this)"
            ) from error

    def describe(self, account: Account) -> str:
        return f"Stack {self.name} in {account.region}, account {account.id}, as {account.caller}"

    def command_to_look(self, account: Account, stack_id: str) -> str:
        """Return the command that shows AWS's progress, whatever the shell's own settings are."""
        profile = f" --profile {self.profile}" if self.profile else ""
        where = f"--region {account.region}{profile}"
        return f"aws cloudformation describe-stack-events --stack-name {stack_id} {where}"

    def explain_absence(self, account: Account) -> str:
        return (
            f"there is no stack {self.name} in {account.region} of account {account.id}; if it has another "
            "name or is elsewhere, give --stack-name, --region or --profile"
        )

    def _known_region(self) -> str | None:
        """Return the relay's region, if the bot's settings tell."""
        values = self.env_file.values() if self.env_file is not None else {}
        return region_of(values.get(ENDPOINT, "")) or values.get(REGION)


def add_stack_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "kind",
        nargs="?",
        choices=tuple(STACK_KINDS),
        default=RELAY,
        metavar="TEMPLATE",
        help=f"{', '.join(STACK_KINDS)} (default: {RELAY})",
    )
    parser.add_argument(
        "workflow",
        nargs="?",
        metavar="NAME",
        help="of the workflow or connection, where TEMPLATE is one of these",
    )
    parser.take_late("workflow")
    parser.add_argument(
        "--stack-name",
        metavar="NAME",
        help=f"default: {DEFAULT_STACK_NAME}; for others {DEFAULT_STACK_NAME}-monitoring and so on",
    )
    parser.add_argument(
        "--relay-stack",
        default=DEFAULT_STACK_NAME,
        metavar="NAME",
        help="the relay's stack, which the other templates belong to (default: %(default)s)",
    )
    parser.add_argument("--region", help="default: from AWS's own settings, or the bot's in .env")
    parser.add_argument("--profile", help="a profile of AWS's own settings")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--env-file",
        type=Path,
        default=Path(".env"),
        metavar="FILE",
        help="the bot's settings (default: %(default)s)",
    )
    which.add_argument("--no-env", action="store_true", help="neither read nor write such a file")


def read_stack_options(arguments: Arguments) -> StackOptions:
    """Return the options; raises SettingsError for an invalid name."""
    named = {"--stack-name": arguments.stack_name, "--relay-stack": arguments.relay_stack}
    problems = [
        f"{option} {name!r} is not a stack name: a letter, then letters, digits and hyphens"
        for option, name in named.items()
        if name is not None and not _STACK_NAME.fullmatch(name)
    ]
    kind = STACK_KINDS[arguments.kind]
    problems += _name_problems(kind, arguments.workflow, arguments.relay_stack)
    if problems:
        raise SettingsError(problems)
    workflow = getattr(arguments, "name", None) or workflow_name(Path(arguments.workflow or ""))
    name = arguments.stack_name or kind.stack_name(arguments.relay_stack, workflow)
    if not _STACK_NAME.fullmatch(name):
        text = f"{name!r} cannot be the stack's name, which has only letters, digits and hyphens"
        raise SettingsError([f"{text}: give another with --stack-name"])
    return StackOptions(
        kind=kind,
        name=name,
        relay_stack=arguments.relay_stack,
        region=arguments.region,
        profile=arguments.profile,
        env_file=None if arguments.no_env else EnvFile(arguments.env_file),
        workflow=workflow,
    )


def _name_problems(kind: StackKind, named: str | None, relay_stack: str) -> Iterator[str]:
    """Yield what is wrong with the name of a workflow or connection."""
    if kind.is_workflow and not named:
        yield "name the workflow, or the file with its definition: voice-relay deploy workflow greet.asl.json"
    elif kind.is_connection:
        yield from _connection_problems(kind, named or "", relay_stack)
    elif named and not kind.takes_name:
        yield f"{kind.name} is one stack and takes no further name: leave out {escape(named)}"


def _connection_problems(kind: StackKind, named: str, relay_stack: str) -> Iterator[str]:
    if not _CONNECTION_NAME.fullmatch(named):
        yield "name the connection, with letters, digits and hyphens: voice-relay deploy connection crm"
        return
    stack_name = kind.stack_name(relay_stack, named)
    for other in STACK_KINDS.values():
        taken = other.stack_name(relay_stack)
        if stack_name == taken or (other.is_workflow and stack_name.startswith(taken)):
            yield f"{stack_name} is the name of a {other.name} stack: name the connection otherwise"

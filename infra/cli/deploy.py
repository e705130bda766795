"""``voice-relay deploy``: creates or updates a stack, and writes what the bot needs to .env."""

import argparse
import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pydantic

from bot.cli.parser import Arguments, CommandParser, key_value
from bot.cli.webhook_check import check_webhook
from bot.console import EXIT_DONE, Console
from bot.errors import SettingsError
from bot.text import escape, render_span
from infra.cli.connection_options import (
    ONLY_CONNECTION,
    ConnectionOptions,
    add_connection_arguments,
    find_credentials,
    read_connection,
)
from infra.cli.handover import hand_over_endpoint, hand_over_key, hand_over_workflow
from infra.cli.plan_view import render_next, render_plan
from infra.cli.progress import Progress
from infra.cli.relay_options import ONLY_RELAY, add_access_key_arguments, add_destination_arguments
from infra.cli.stack_options import StackOptions, add_stack_arguments, read_stack_options
from infra.cli.webhook_sources import find_webhook, read_webhook_files
from infra.cli.workflow_options import (
    ONLY_WORKFLOW,
    add_workflow_arguments,
    check_with_aws,
    read_workflow,
)
from infra.deploy.access_key import AccessKeys, check_key
from infra.deploy.account import Account
from infra.deploy.connection_stack import deploy_connection
from infra.deploy.destinations import DestinationChanges, FindWebhook
from infra.deploy.engine import DeployOptions, Plan, deploy, deploy_template
from infra.deploy.stack import StillInProgressError
from infra.deploy.workflow_stack import OwnWorkflow, deploy_workflow

_BOT_USER: Final = "CreateBotUser"
_ROLE_ARN: Final = re.compile(r"arn:[\w-]+:iam::\d{12}:role/\S+")
_WEBHOOK_REMEDY: Final = (
    "nothing was changed: make a webhook in the channel's settings, under Integrations, and give its URL"
)


@dataclass(frozen=True)
class Options:
    """``added``, ``renewed`` and ``removed`` are destinations; ``webhook_files`` names one with each file."""

    stack: StackOptions
    parameters: Mapping[str, str]
    bucket: str | None
    role_arn: str | None
    added: tuple[str, ...]
    renewed: tuple[str, ...]
    removed: tuple[str, ...]
    webhook_files: tuple[tuple[str, str], ...]
    create_key: bool
    rotate_key: bool
    yes: bool
    wait: bool
    workflow: OwnWorkflow | None = None
    connection: ConnectionOptions | None = None

    @property
    def wants_key(self) -> bool:
        return self.create_key or self.rotate_key


def add_arguments(parser: CommandParser) -> None:
    parser.description = (
        "Create or update a stack in an AWS account: show what would change, ask, change it, and write the "
        "relay's endpoint to .env. Webhook URLs go straight into Secrets Manager. The template workflow is "
        "for one workflow beside the relay's: one that comes with voice-relay, or the definition in a file; "
        "connection is for the API of a third party that workflows call."
    )
    parser.epilog = (
        "The first time, the webhook of the destination default is taken from VOICE_RELAY_WEBHOOK_URL, or "
        "asked for. Exit codes: 0 done, or nothing to change; 1 failed or declined; 2 wrong usage or "
        "settings; 130 interrupted."
    )
    add_stack_arguments(parser)
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        type=key_value,
        metavar="KEY=VALUE",
        help="of the template; the others keep their values; repeatable",
    )
    parser.add_argument("--bucket", metavar="NAME", help="for a template too large for a request")
    parser.add_argument(
        "--role-arn", metavar="ARN", help="the role that CloudFormation makes the changes as, instead of you"
    )
    add_destination_arguments(parser)
    add_access_key_arguments(parser)
    add_workflow_arguments(parser)
    add_connection_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="watch until it is done (default); --no-wait leaves .env alone",
    )


def read_options(arguments: Arguments) -> Options:
    stack = read_stack_options(arguments)
    options = Options(
        stack=stack,
        parameters=dict(arguments.parameter),
        bucket=arguments.bucket,
        role_arn=arguments.role_arn,
        added=tuple(arguments.destination),
        renewed=tuple(arguments.renew_webhook),
        removed=tuple(arguments.remove_destination),
        webhook_files=tuple(arguments.webhook_file),
        create_key=arguments.create_access_key,
        rotate_key=arguments.rotate_access_key,
        yes=arguments.yes,
        wait=arguments.wait,
        workflow=read_workflow(arguments) if stack.kind.is_workflow else None,
        connection=read_connection(arguments) if stack.kind.is_connection else None,
    )
    given = [name for name in (*ONLY_RELAY, *ONLY_WORKFLOW, *ONLY_CONNECTION) if getattr(arguments, name)]
    if problems := [*_find_problems(options), *_find_misplaced(options, given)]:
        raise SettingsError(problems)
    return options


def _find_problems(options: Options) -> list[str]:
    problems, stack = [], options.stack
    if len(stack.name) > stack.kind.max_name:
        problems.append(
            f"the stack name {stack.name} has {len(stack.name)} characters, but may have at most "
            f"{stack.kind.max_name}: names derived from it would be too long for AWS"
        )
    if options.role_arn is not None and not _ROLE_ARN.fullmatch(options.role_arn):
        problems.append("--role-arn must be a role's ARN, like arn:aws:iam::<account>:role/<name>")
    return problems


def _find_misplaced(options: Options, given: list[str]) -> list[str]:
    """Return what is wrong with the options of one kind of stack alone, of which these were *given*."""
    kind = options.stack.kind
    problems = [
        f"--{name.replace('_', '-')} applies to {what} only, not to {kind.name}"
        for what, applies, names in (
            ("the relay", kind.is_relay, ONLY_RELAY),
            ("a workflow", kind.is_workflow, ONLY_WORKFLOW),
            ("a connection", kind.is_connection, ONLY_CONNECTION),
        )
        for name in names
        if name in given and not applies
    ]
    if not options.wants_key or problems:
        return problems
    if options.stack.env_file is None:
        problems.append("an access key is only ever written to a file: leave out --no-env")
    if not options.wait:
        problems.append("an access key is made once its user exists: leave out --no-wait")
    if options.parameters.get(_BOT_USER, "true") != "true":
        problems.append(f"an access key needs a user: leave out --parameter {_BOT_USER}=...")
    return problems


def run(options: Options, console: Console) -> int:
    stack = options.stack
    if not options.yes:
        console.require_terminal()
    if stack.env_file is not None and (stack.kind.is_relay or stack.kind.is_workflow):
        stack.env_file.check()
    account = stack.open_account()
    console.say(stack.describe(account))
    if options.workflow is not None:
        check_with_aws(options.workflow, account, console)
    deployment = _Deployment(options, account, console)
    outputs = deployment.run()
    console.say(deployment.summarise())
    if not options.wait:
        return EXIT_DONE
    console.say_facts([(key, outputs[key]) for key in stack.kind.shown if key in outputs])
    if stack.kind.is_relay:
        _hand_over(options, outputs, account, console)
        return EXIT_DONE
    if stack.kind.is_workflow:
        hand_over_workflow(stack.env_file, stack.workflow, console)
    console.say(*render_next(deployment.plan, stack))
    return EXIT_DONE


class _Deployment:
    """One deployment at the console; ``plan`` is what it changes, ``None`` if that is nothing."""

    def __init__(self, options: Options, account: Account, console: Console) -> None:
        self.plan: Plan | None = None
        self._options = options
        self._account = account
        self._console = console
        self._progress = Progress(console.out)

    def run(self) -> dict[str, str]:
        """Return the stack's outputs; raises RelayError."""
        how = DeployOptions(
            on_event=self._progress,
            review=self._review,
            wait=self._options.wait,
            sleep=self._progress.sleep,
            bucket=self._options.bucket,
            account_id=self._account.id,
            role_arn=self._options.role_arn,
        )
        try:
            return self._deploy_relay(how) if self._options.stack.kind.is_relay else self._deploy_other(how)
        except StillInProgressError:
            if self.plan is None:
                raise
            name = self._options.stack.name
            raise StillInProgressError(
                f"stack {name}: AWS continues with it; see its progress with {self._explain_rest(self.plan)}"
            ) from None
        finally:
            self._progress.finish()

    def summarise(self) -> str:
        if self.plan is None:
            return "There is nothing to change."
        if not self._options.wait:
            return f"AWS is at work. See its progress with {self._explain_rest(self.plan)}."
        return f"Done in {render_span(int(self._progress.elapsed_s * 1000))}."

    def _review(self, plan: Plan) -> bool:
        self.plan = plan
        self._console.say(*render_plan(plan, self._options.stack.kind))
        changed = [change.logical_id for change in plan.change_set.changes]
        self._progress.expect(len(changed), changed)
        return self._options.yes or self._console.confirm("Deploy this?", otherwise="nothing was changed")

    def _deploy_relay(self, how: DeployOptions) -> dict[str, str]:
        options, stack = self._options, self._options.stack
        parameters = dict(options.parameters)
        if options.wants_key and stack.env_file is not None:
            # Before anything is changed. The template derives the user's name from the stack's.
            keys = AccessKeys(self._account.client("iam"), f"{stack.name}-bot")
            check_key(keys, stack.env_file, rotate=options.rotate_key)
            parameters[_BOT_USER] = "true"
        env_path = stack.env_file.path if stack.env_file else None
        changes = DestinationChanges(
            webhooks=self._read_webhooks(),
            added=options.added,
            renewed=options.renewed,
            removed=options.removed,
            find=self._checked(find_webhook(self._console, env_file=env_path, renewed=options.renewed)),
        )
        return deploy(
            self._account.client,
            webhook_url=None,
            stack_name=stack.name,
            parameters=parameters,
            destinations=changes,
            template=stack.kind.template,
            options=how,
        )

    def _read_webhooks(self) -> Mapping[str, pydantic.SecretStr]:
        webhooks = read_webhook_files(self._options.webhook_files, self._console)
        for name, url in webhooks.items():
            self._check(name, url)
        return webhooks

    def _checked(self, find: FindWebhook) -> FindWebhook:
        def find_checked(name: str) -> pydantic.SecretStr | None:
            url = find(name)
            if url is not None:
                self._check(name, url)
            return url

        return find_checked

    def _check(self, destination: str, url: pydantic.SecretStr) -> None:
        """Raise SettingsError, before anything is changed, for a webhook that Discord refuses."""
        name = f"the webhook of the destination {escape(destination)}"
        asyncio.run(check_webhook(name, url, remedy=_WEBHOOK_REMEDY, hint=self._console.hint))

    def _deploy_other(self, how: DeployOptions) -> dict[str, str]:
        stack, workflow, connection = self._options.stack, self._options.workflow, self._options.connection
        if connection is not None:
            return deploy_connection(
                self._account.client,
                stack_name=stack.name,
                parameters=connection.parameters,
                find=find_credentials(connection, self._console),
                renew=connection.renew,
                options=how,
            )
        if workflow is not None:
            return deploy_workflow(
                self._account.client,
                workflow,
                relay_stack=stack.relay_stack,
                stack_name=stack.name,
                parameters=self._options.parameters,
                options=how,
            )
        return deploy_template(
            self._account.client,
            stack.kind.template,
            stack_name=stack.name,
            parameters=self._options.parameters,
            defaults={"RelayStack": stack.relay_stack},
            options=how,
        )

    def _explain_rest(self, plan: Plan) -> str:
        """Return how to see AWS's progress, and what is left to do after that."""
        stack = self._options.stack
        look = stack.command_to_look(self._account, plan.change_set.stack_id)
        if not stack.kind.is_relay or stack.env_file is None:
            return look
        without = "" if self._options.wait else " without --no-wait"
        return (
            f"{look}; once it is done, the same command again{without} writes what the bot needs to "
            f"{stack.env_file.path}"
        )


def _hand_over(options: Options, outputs: Mapping[str, str], account: Account, console: Console) -> None:
    """Write what the bot needs to its settings, and say what is left to do."""
    stack = options.stack
    if stack.env_file is None:
        return
    hand_over_endpoint(stack.env_file, outputs, account.region, console)
    if options.wants_key:
        hand_over_key(
            stack.env_file, outputs, account, console, stack_name=stack.name, rotate=options.rotate_key
        )
    elif "BotUserName" not in outputs:
        console.say(
            "The bot needs credentials with the policy BotPolicyArn: attach it to the bot's role or user, or "
            "make a user and a key with --create-access-key."
        )

"""``voice-relay deploy``: from the arguments to a stack, its secret, and what the bot needs in .env."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import botocore.exceptions

from bot.errors import SettingsError
from bot.settings.values import region_of
from bot.text import render_facts, render_span
from infra.cli.console import Console
from infra.cli.progress import Progress
from infra.cli.webhook_sources import find_webhook, read_webhook_files
from infra.deploy.access_key import KEY_ID, AccessKeys, check_key, ensure_key
from infra.deploy.account import Account, open_account
from infra.deploy.aws_errors import DeployError
from infra.deploy.change_set import render_changes
from infra.deploy.destinations import DestinationChanges
from infra.deploy.engine import Conduct, Plan, deploy, deploy_template
from infra.deploy.env_file import EnvFile
from infra.deploy.stack import StillInProgressError
from infra.deploy.stack_kinds import STACK_KINDS, StackKind

ENDPOINT: Final = "VOICE_RELAY_API_ENDPOINT"
REGION: Final = "VOICE_RELAY_AWS_REGION"

_BOT_USER: Final = "CreateBotUser"
_ALERTS: Final = "AlertEmail"
# https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
_STACK_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_ROLE_ARN: Final = re.compile(r"arn:[\w-]+:iam::\d{12}:role/\S+")
_ONLY_RELAY: Final = (
    *("destination", "renew_webhook", "remove_destination", "webhook_file"),
    *("create_access_key", "rotate_access_key"),
)


@dataclass
class _Told:
    """What the person has seen so far."""

    plan: Plan | None = None


def run_deploy(arguments: argparse.Namespace, console: Console) -> int:
    """Carry the command out and return its exit code; raises RelayError with a sentence for the person."""
    kind = STACK_KINDS[arguments.kind]
    _check_usage(arguments, kind)
    stack_name = stack_name_of(arguments, kind)
    console.require_answer(given=arguments.yes)
    env_file = find_env_file(arguments)
    if env_file is not None and kind.is_relay:
        env_file.check()
    account = open_named_account(arguments, env_file)
    console.say(describe_account(stack_name, account))
    progress, told = Progress(console.out), _Told()

    def review(plan: Plan) -> bool:
        told.plan = plan
        console.say(*_render_plan(plan, kind))
        changed = [change.logical_id for change in plan.change_set.changes]
        progress.expect(len(changed), changed)
        return bool(arguments.yes) or console.confirm("Deploy this?")

    conduct = Conduct(
        on_event=progress,
        review=review,
        wait=arguments.wait,
        sleep=progress.sleep,
        bucket=arguments.bucket,
        account_id=account.id,
        role_arn=arguments.role_arn,
    )
    try:
        if kind.is_relay:
            outputs = _deploy_relay(arguments, console, account, stack_name, env_file, conduct)
        else:
            outputs = deploy_template(
                account.client,
                kind.template,
                stack_name=stack_name,
                parameters=dict(arguments.parameter),
                defaults={"RelayStack": arguments.relay_stack},
                conduct=conduct,
            )
    except StillInProgressError:
        if told.plan is None:
            raise
        look = command_to_look(arguments, account, told.plan.change_set.stack_id)
        rest = _render_rest(kind, env_file, arguments)
        raise StillInProgressError(
            f"stack {stack_name}: AWS goes on with it; look with {look}{rest}"
        ) from None
    finally:
        progress.finish()
    if told.plan is None:
        console.say("There is nothing to change.")
    elif not arguments.wait:
        look = command_to_look(arguments, account, told.plan.change_set.stack_id)
        rest = _render_rest(kind, env_file, arguments)
        console.say(f"AWS is at work. See how far it is with {look}{rest}.")
    else:
        console.say(f"Done in {render_span(int(progress.elapsed_s * 1000))}.")
    if arguments.wait:
        console.say(*render_facts([(key, outputs[key]) for key in kind.shown if key in outputs]))
        if kind.is_relay:
            _hand_over(arguments, console, account, stack_name, env_file, outputs)
        else:
            console.say(*_render_next(kind, told.plan))
    return 0


def find_env_file(arguments: argparse.Namespace) -> EnvFile | None:
    return None if arguments.no_env else EnvFile(arguments.env_file)


def known_region(env_file: EnvFile | None) -> str | None:
    """The region of the relay that the bot's settings name."""
    values = env_file.values() if env_file is not None else {}
    return region_of(values.get(ENDPOINT, "")) or values.get(REGION)


def open_named_account(arguments: argparse.Namespace, env_file: EnvFile | None) -> Account:
    """The account that the arguments and AWS's own settings name; raises SettingsError, DeployError."""
    try:
        return open_account(
            profile=arguments.profile, region=arguments.region, known_region=known_region(env_file)
        )
    except DeployError as error:
        lacks = isinstance(error.__cause__, botocore.exceptions.NoCredentialsError)
        if not (lacks and env_file is not None and KEY_ID in env_file.values()):
            raise
        raise DeployError(f"{error} (the bot's key in {env_file.path} is not used for this)") from error


def command_to_look(arguments: argparse.Namespace, account: Account, stack_id: str) -> str:
    """The command that shows how far AWS is, whatever the shell's own settings are."""
    profile = f" --profile {arguments.profile}" if arguments.profile else ""
    return (
        f"aws cloudformation describe-stack-events --stack-name {stack_id} --region {account.region}{profile}"
    )


def stack_name_of(arguments: argparse.Namespace, kind: StackKind) -> str:
    """The name of the stack that is meant; raises SettingsError where it cannot be one."""
    named = {"--stack-name": arguments.stack_name, "--relay-stack": arguments.relay_stack}
    problems = [
        f"{option} {name!r} is no name of a stack: a letter, then letters, digits and hyphens"
        for option, name in named.items()
        if name is not None and not _STACK_NAME.fullmatch(name)
    ]
    if problems:
        raise SettingsError(problems)
    return str(arguments.stack_name or kind.stack_name(arguments.relay_stack))


def describe_account(stack_name: str, account: Account) -> str:
    return f"Stack {stack_name} in {account.region}, account {account.id}, as {account.caller}"


def _check_usage(arguments: argparse.Namespace, kind: StackKind) -> None:
    problems = []
    stack_name = stack_name_of(arguments, kind)
    if len(stack_name) > kind.max_name:
        problems.append(
            f"the stack's name {stack_name} has {len(stack_name)} characters, and may have {kind.max_name}: "
            "others are made of it, which AWS would refuse"
        )
    if arguments.role_arn is not None and not _ROLE_ARN.fullmatch(arguments.role_arn):
        problems.append("--role-arn must be a role's ARN, like arn:aws:iam::<account>:role/<name>")
    if not kind.is_relay:
        problems += [
            f"--{name.replace('_', '-')} goes with the relay alone, not with {kind.name}"
            for name in _ONLY_RELAY
            if getattr(arguments, name)
        ]
    elif _wants_key(arguments):
        if arguments.no_env:
            problems.append("an access key is written to a file and shown to nobody: leave out --no-env")
        if not arguments.wait:
            problems.append("an access key is made once the user is there: leave out --no-wait")
        if dict(arguments.parameter).get(_BOT_USER, "true") != "true":
            problems.append(f"an access key belongs to a user: leave out --parameter {_BOT_USER}=...")
    if problems:
        raise SettingsError(problems)


def _wants_key(arguments: argparse.Namespace) -> bool:
    return bool(arguments.create_access_key or arguments.rotate_access_key)


def _deploy_relay(
    arguments: argparse.Namespace,
    console: Console,
    account: Account,
    stack_name: str,
    env_file: EnvFile | None,
    conduct: Conduct,
) -> dict[str, str]:
    parameters = dict(arguments.parameter)
    if _wants_key(arguments) and env_file is not None:
        # Before anything is changed; the name is what the template makes of the stack's.
        keys = AccessKeys(account.client("iam"), f"{stack_name}-bot")
        check_key(keys, env_file, rotate=arguments.rotate_access_key)
        parameters[_BOT_USER] = "true"
    renewed = arguments.renew_webhook
    wishes = DestinationChanges(
        webhooks=read_webhook_files(arguments.webhook_file, console),
        added=arguments.destination,
        renewed=renewed,
        removed=arguments.remove_destination,
        find=find_webhook(console, env_file=env_file.path if env_file else None, renewed=renewed),
    )
    return deploy(
        account.client,
        webhook_url=None,
        stack_name=stack_name,
        parameters=parameters,
        destinations=wishes,
        template=STACK_KINDS[arguments.kind].template,
        conduct=conduct,
    )


def _render_plan(plan: Plan, kind: StackKind) -> list[str]:
    lines = [
        "It is new:" if plan.change_set.creates else "It would change:",
        *render_changes(plan.change_set),
    ]
    if any(change.kind == "MAY REPLACE" for change in plan.change_set.changes):
        lines.append("Which of those that MAY be replaced are, AWS decides once it is at work.")
    if plan.webhooks:
        words = ", ".join(f"{name} ({word})" for name, word in plan.webhooks.items())
        lines.append(f"Webhooks in the secret {plan.secret_name}: {words}")
    elif kind.is_relay:
        lines.append(f"Webhooks in the secret {plan.secret_name}: as they are")
    return lines


def _render_rest(kind: StackKind, env_file: EnvFile | None, arguments: argparse.Namespace) -> str:
    """What is left to do once AWS is done."""
    if not kind.is_relay or env_file is None:
        return ""
    without = "" if arguments.wait else " without --no-wait"
    return f"; once it is done, the same command again{without} writes what the bot needs to {env_file.path}"


def _render_next(kind: StackKind, plan: Plan | None) -> list[str]:
    lines = [f"All that the stack says of itself: voice-relay outputs {kind.name}"]
    changes = plan.change_set.parameters if plan is not None else ()
    lines += [
        f"AWS has sent a mail to {change.after}: confirm the subscription in it, or no alarm is heard there."
        for change in changes
        if change.name == _ALERTS and change.after
    ]
    return lines


def _hand_over(
    arguments: argparse.Namespace,
    console: Console,
    account: Account,
    stack_name: str,
    env_file: EnvFile | None,
    outputs: Mapping[str, str],
) -> None:
    """Give the bot what it needs, and the person what is left to do."""
    if env_file is None:
        return
    for line in _write_endpoint(env_file, outputs["ApiEndpoint"], account.region):
        console.say(line)
    if _wants_key(arguments):
        user = outputs.get("BotUserName")
        if user is None:
            raise DeployError(
                f"stack {stack_name} tells of no user (BotUserName): no access key was made; see what it has "
                "with voice-relay outputs"
            )
        keys = AccessKeys(account.client("iam"), user)
        console.say(*ensure_key(keys, env_file, rotate=arguments.rotate_access_key))
        if env_file.readable_by_others():
            console.warn([f"others on this machine can read {env_file.path}: chmod 600 {env_file.path}"])
    elif "BotUserName" not in outputs:
        console.say(
            "The bot needs credentials with the policy BotPolicyArn: attach it to the bot's role or user, or "
            "have a user and a key made with --create-access-key."
        )


def _write_endpoint(env_file: EnvFile, endpoint: str, region: str) -> list[str]:
    held = env_file.values()
    values = {ENDPOINT: endpoint}
    # Needed where the endpoint's name does not tell; and a wrong one would be refused.
    if region_of(endpoint) is None or held.get(REGION, region) != region:
        values[REGION] = region
    before = {name: f" (it was {held[name]})" if name in held else "" for name in values}
    return [f"Wrote {name} to {env_file.path}{before[name]}." for name in env_file.write(values)]

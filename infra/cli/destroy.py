"""``voice-relay destroy`` and ``voice-relay outputs``."""

import argparse
from typing import Final

from bot.errors import SettingsError
from bot.text import Answer, render_facts, render_for_machine
from infra.cli.console import Console
from infra.cli.deploy import (
    ENDPOINT,
    REGION,
    command_to_look,
    describe_account,
    find_env_file,
    open_named_account,
    stack_name_of,
)
from infra.cli.progress import Progress
from infra.deploy.access_key import KEY_ID, SECRET_KEY
from infra.deploy.account import Account
from infra.deploy.aws_errors import DeployError
from infra.deploy.destroy import DestroyPlan, describe_stack, destroy
from infra.deploy.env_file import EnvFile
from infra.deploy.stack import Stack, StillInProgressError
from infra.deploy.stack_events import ignore
from infra.deploy.stack_kinds import STACK_KINDS
from infra.deploy.stack_status import CREATED

_HEALTHY: Final = CREATED | {"UPDATE_ROLLBACK_COMPLETE"}


def run_destroy(arguments: argparse.Namespace, console: Console) -> int:
    """Carry the command out and return its exit code; raises RelayError with a sentence for the person."""
    kind, env_file = STACK_KINDS[arguments.kind], find_env_file(arguments)
    if arguments.keep_secret and not kind.is_relay:
        raise SettingsError([f"--keep-secret goes with the relay alone, not with {kind.name}"])
    stack_name = stack_name_of(arguments, kind)
    console.require_answer(given=arguments.yes)
    account = open_named_account(arguments, env_file)
    console.say(describe_account(stack_name, account))
    progress = Progress(console.out)
    found: list[DestroyPlan] = []

    def review(survey: DestroyPlan) -> bool:
        found.append(survey)
        console.say(*_render_survey(survey))
        progress.expect(sum(survey.resources.values()))
        return bool(arguments.yes) or console.confirm("Delete this for good?")

    try:
        destroy(
            account.client,
            stack_name=stack_name,
            has_secret=kind.is_relay,
            keep_secret=arguments.keep_secret,
            review=review,
            on_event=progress,
            sleep=progress.sleep,
        )
    except StillInProgressError:
        look = command_to_look(arguments, account, found[-1].stack_id)
        raise StillInProgressError(
            f"stack {stack_name}: AWS goes on with it; look with {look}{_render_rest(found[-1])}"
        ) from None
    finally:
        progress.finish()
    if not found:
        console.say(f"There is nothing to delete: {_absence(stack_name, account)}.")
        return 0
    console.say("All of it is gone.")
    if kind.is_relay and env_file is not None:
        console.say(*_render_left(env_file))
    return 0


def answer_outputs(arguments: argparse.Namespace) -> Answer:
    """What the stack says of itself; raises DeployError where there is none."""
    stack_name = stack_name_of(arguments, STACK_KINDS[arguments.kind])
    account = open_named_account(arguments, find_env_file(arguments))
    stack = Stack(account.client("cloudformation"), stack_name, on_event=ignore, poll_s=0)
    if not stack.exists():
        raise DeployError(_absence(stack_name, account))
    outputs = stack.outputs()
    if not outputs:
        _, status = describe_stack(account.client, stack_name)
        said = f"stack {stack_name} has no outputs; it is in {status}"
        if status not in _HEALTHY:
            raise DeployError(said)
        if not arguments.json:
            return Answer([said])
    return Answer(render_for_machine(outputs) if arguments.json else list(render_facts([*outputs.items()])))


def _absence(stack_name: str, account: Account) -> str:
    return (
        f"there is no stack {stack_name} in {account.region} of account {account.id}; if it has another name "
        "or is elsewhere, say so with --stack-name, --region or --profile"
    )


def _render_survey(survey: DestroyPlan) -> list[str]:
    lines = ["It would be deleted for good:"]
    if survey.exists and not survey.resources:
        lines.append(
            f"  what a creation that failed has left of {survey.stack_name}: no resource, but its name"
        )
    lines += [f"  {number:>3}  {kind}" for kind, number in sorted(survey.resources.items())]
    lines += [
        f"  {len(ids):>3}  access keys of the user {user}; whoever has one is locked out"
        for user, ids in survey.keys.items()
    ]
    if survey.secret_name is not None:
        names = ", ".join(survey.destinations) or "none"
        lines.append(
            f"  the secret {survey.secret_name}, with the webhooks of: {names} (--keep-secret keeps it)"
        )
    return lines


def _render_rest(survey: DestroyPlan) -> str:
    if survey.secret_name is None:
        return ""
    return (
        f"; the secret {survey.secret_name} is still there: once the stack is gone, the same command again "
        "deletes it"
    )


def _render_left(env_file: EnvFile) -> list[str]:
    values = env_file.values()
    left = [name for name in (ENDPOINT, REGION, KEY_ID, SECRET_KEY) if name in values]
    return [f"{env_file.path} still has {', '.join(left)}: take out what was for this relay."] if left else []

"""``voice-relay destroy`` and ``voice-relay outputs``."""

import argparse

from bot.plain_text import Answer, render_facts, render_for_machine
from infra.access_key import KEY_ID, SECRET_KEY
from infra.account import Account, open_account
from infra.aws_errors import DeployError
from infra.console import Console
from infra.deploy_command import (
    ENDPOINT,
    REGION,
    describe_account,
    find_env_file,
    known_region,
    stack_name_of,
)
from infra.destroy import Survey, destroy
from infra.env_file import EnvFile
from infra.kinds import KINDS
from infra.progress import Progress
from infra.stack import Stack
from infra.stack_events import ignore


def run_destroy(arguments: argparse.Namespace, console: Console) -> int:
    """Carry the command out and return its exit code; raises RelayError with a sentence for the person."""
    console.require_answer(given=arguments.yes)
    kind, env_file = KINDS[arguments.kind], find_env_file(arguments)
    stack_name = stack_name_of(arguments, kind)
    account = _open(arguments, env_file)
    console.say(describe_account(stack_name, account))
    progress = Progress(console.out)
    found: list[Survey] = []

    def review(survey: Survey) -> bool:
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
    account = _open(arguments, find_env_file(arguments))
    stack_name = stack_name_of(arguments, KINDS[arguments.kind])
    stack = Stack(account.client("cloudformation"), stack_name, on_event=ignore, poll_s=0)
    if not stack.exists():
        raise DeployError(_absence(stack_name, account))
    outputs = stack.outputs()
    return Answer(render_for_machine(outputs) if arguments.json else list(render_facts([*outputs.items()])))


def _open(arguments: argparse.Namespace, env_file: EnvFile | None) -> Account:
    return open_account(
        profile=arguments.profile, region=arguments.region, known_region=known_region(env_file)
    )


def _absence(stack_name: str, account: Account) -> str:
    return (
        f"there is no stack {stack_name} in {account.region} of account {account.id}; if it has another name "
        "or is elsewhere, say so with --stack-name, --region or --profile"
    )


def _render_survey(survey: Survey) -> list[str]:
    lines = ["It would be deleted for good:"]
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


def _render_left(env_file: EnvFile) -> list[str]:
    values = env_file.values()
    left = [name for name in (ENDPOINT, REGION, KEY_ID, SECRET_KEY) if name in values]
    return [f"{env_file.path} still has {', '.join(left)}: take out what was for this relay."] if left else []

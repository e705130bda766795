"""``voice-relay destroy``: deletes a stack, and with the relay's its secret and access keys, after asking."""

from dataclasses import dataclass

from bot.cli.parser import Arguments, CommandParser
from bot.console import EXIT_DONE, Console
from bot.errors import SettingsError
from infra.cli.handover import take_back_workflow
from infra.cli.progress import Progress
from infra.cli.stack_options import (
    DESTINATIONS,
    ENDPOINT,
    REGION,
    WORKFLOWS,
    StackOptions,
    add_stack_arguments,
    read_stack_options,
)
from infra.deploy.access_key import KEY_ID, SECRET_KEY
from infra.deploy.account import Account
from infra.deploy.credentials import secret_name
from infra.deploy.destroy import DestroyPlan, destroy
from infra.deploy.env_file import EnvFile
from infra.deploy.stack import StillInProgressError
from infra.deploy.stack_kinds import StackKind


@dataclass(frozen=True)
class Options:
    """Which stack, what of it to keep, and whether to ask first."""

    stack: StackOptions
    keep_secret: bool
    yes: bool


def add_arguments(parser: CommandParser) -> None:
    parser.description = (
        "Show what a stack consists of, ask, and delete it: with the relay's, its secret and the access keys "
        "of its user; with a connection's, its credentials. In .env, only a deleted workflow's name is "
        "removed."
    )
    parser.epilog = "Exit codes: 0 gone; 1 failed or declined; 2 wrong usage or settings; 130 interrupted."
    add_stack_arguments(parser)
    parser.add_argument(
        "--keep-secret",
        action="store_true",
        help="keep the secret with the webhooks, or with a connection's credentials",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def read_options(arguments: Arguments) -> Options:
    stack = read_stack_options(arguments)
    if arguments.keep_secret and not (stack.kind.is_relay or stack.kind.is_connection):
        raise SettingsError(
            [f"--keep-secret applies to the relay and to connections only, not to {stack.kind.name}"]
        )
    return Options(stack, arguments.keep_secret, arguments.yes)


def run(options: Options, console: Console) -> int:
    if not options.yes:
        console.require_terminal()
    account = options.stack.open_account()
    console.say(options.stack.describe(account))
    plan = _destroy(options, account, console)
    if plan is None:
        console.say(f"There is nothing to delete: {options.stack.explain_absence(account)}.")
    else:
        console.say("All of it is gone.")
    if options.stack.kind.is_workflow:
        take_back_workflow(options.stack.env_file, options.stack.workflow, console)
    if plan is None:
        return EXIT_DONE
    if options.stack.kind.is_relay and options.stack.env_file is not None:
        console.say(*_render_left(options.stack.env_file))
    return EXIT_DONE


def _destroy(options: Options, account: Account, console: Console) -> DestroyPlan | None:
    """Delete what the stack consists of and return that; ``None`` if there is nothing."""
    stack, progress = options.stack, Progress(console.out)
    found: list[DestroyPlan] = []

    def review(plan: DestroyPlan) -> bool:
        found.append(plan)
        console.say(*_render_plan(plan, stack.kind))
        progress.expect(sum(plan.resources.values()))
        return options.yes or console.confirm("Delete this for good?", otherwise="nothing was changed")

    try:
        destroy(
            account.client,
            stack_name=stack.name,
            secret_name=secret_name(stack.name) if stack.kind.is_connection else None,
            has_secret=stack.kind.is_relay or stack.kind.is_connection,
            keep_secret=options.keep_secret,
            review=review,
            on_event=progress,
            sleep=progress.sleep,
        )
    except StillInProgressError:
        look = stack.command_to_look(account, found[-1].stack_id)
        rest = _render_rest(found[-1])
        raise StillInProgressError(
            f"stack {stack.name}: AWS continues with it; see its progress with {look}{rest}"
        ) from None
    finally:
        progress.finish()
    return found[-1] if found else None


def _render_plan(plan: DestroyPlan, kind: StackKind) -> list[str]:
    lines = ["This will be deleted for good:"]
    if plan.exists and not plan.resources:
        lines.append(f"  the stack {plan.stack_name}, whose creation failed: it has no resources")
    lines += [f"  {number:>3}  {kind}" for kind, number in sorted(plan.resources.items())]
    lines += [
        f"  {len(ids):>3}  access keys of the user {user}; whatever uses one is locked out"
        for user, ids in plan.keys.items()
    ]
    if plan.secret_name is not None and kind.is_connection:
        lines.append(f"  the secret {plan.secret_name}, with the credentials (--keep-secret keeps it)")
    elif plan.secret_name is not None:
        names = ", ".join(plan.destinations) or "none"
        lines.append(
            f"  the secret {plan.secret_name}, with the webhooks of: {names} (--keep-secret keeps it)"
        )
    return lines


def _render_rest(plan: DestroyPlan) -> str:
    if plan.secret_name is None:
        return ""
    return (
        f"; the secret {plan.secret_name} is still there: once the stack is gone, the same command again "
        "deletes it"
    )


def _render_left(env_file: EnvFile) -> list[str]:
    values = env_file.values()
    left = [
        name for name in (ENDPOINT, REGION, DESTINATIONS, WORKFLOWS, KEY_ID, SECRET_KEY) if name in values
    ]
    return (
        [f"{env_file.path} still has {', '.join(left)}: remove what belonged to this relay."] if left else []
    )

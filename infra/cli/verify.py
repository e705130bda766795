"""``voice-relay verify``: tries on an account what the relay assumes of AWS, in a stack of its own."""

from dataclasses import dataclass
from typing import Final

import pydantic

from bot.cli.parser import Arguments, CommandParser, seconds
from bot.console import EXIT_DONE, EXIT_FAILED, Console
from bot.errors import SettingsError
from bot.settings.values import check_endpoint
from infra.cli.webhook_sources import read_webhook_files
from infra.deploy.account import open_account
from infra.deploy.destinations import DEFAULT_DESTINATION
from infra.deploy.engine import DeclinedError, DeployOptions
from infra.verify.check import Row, Verdict, make
from infra.verify.checks import CHECKS
from infra.verify.removal import Removal, is_stack_name, new_stack_name
from infra.verify.site import Site
from infra.verify.stand import Stand
from infra.verify.table import render_summary, render_table

_COST: Final = (
    "A run costs next to nothing: a few dozen requests and executions, and one secret for a few minutes; "
    "the table of waits is billed by request, and the users are free."
)


@dataclass(frozen=True)
class Options:
    """``webhook_file`` has the URL that posts go to, ``request_bin`` answers with what it received."""

    region: str | None
    profile: str | None
    webhook_file: str | None
    request_bin: str | None
    wait_metrics_s: float
    keep: bool
    removed: str | None
    yes: bool


def add_arguments(parser: CommandParser) -> None:
    parser.description = (
        "Deploy a relay of its own to an AWS account, try its routes, policies and workflows and what they "
        "assume of AWS, print a table of what was expected and what was seen, and remove everything again. "
        "It neither needs nor changes another relay in the account."
    )
    parser.epilog = (
        "Exit codes: 0 nothing differs; 1 something differs, failed or was declined; 2 wrong usage or "
        "settings; 130 interrupted."
    )
    parser.add_argument("--region", help="default: from AWS's own settings")
    parser.add_argument("--profile", help="a profile of AWS's own settings")
    parser.add_argument(
        "--webhook-file",
        metavar="FILE",
        help="a file with nothing but a webhook's URL, - for a pipe: try real posts, to its channel",
    )
    parser.add_argument(
        "--request-bin",
        metavar="URL",
        help='an address of your own that answers a POST with {"headers": {...}}, the headers that it '
        "received: try what the target of a post or a call gets",
    )
    parser.add_argument(
        "--wait-metrics",
        type=seconds,
        default=0.0,
        metavar="SECONDS",
        help="wait up to so long for CloudWatch's metrics, which come minutes later (default: skip them)",
    )
    parser.add_argument("--keep", action="store_true", help="leave the stacks and users, to look at them")
    parser.add_argument(
        "--remove",
        metavar="STACK",
        help="only remove what an earlier run left: voice-relay-verify- and six characters",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def read_options(arguments: Arguments) -> Options:
    if arguments.remove is not None and not is_stack_name(arguments.remove):
        raise SettingsError(["--remove takes the stack of an earlier run, like voice-relay-verify-0a1b2c"])
    return Options(
        region=arguments.region,
        profile=arguments.profile,
        webhook_file=arguments.webhook_file,
        request_bin=_check_bin(arguments.request_bin),
        wait_metrics_s=arguments.wait_metrics,
        keep=arguments.keep,
        removed=arguments.remove,
        yes=arguments.yes,
    )


def _check_bin(url: str | None) -> str | None:
    try:
        return check_endpoint(url) if url else None
    except ValueError:
        raise SettingsError(["--request-bin must be an https URL"]) from None


def run(options: Options, console: Console) -> int:
    if not options.yes and options.removed is None:
        console.require_terminal()
    webhook = _read_webhook(options, console)
    account = open_account(profile=options.profile, region=options.region, known_region=None)
    site = Site(
        account,
        options.removed or new_stack_name(),
        has_webhook=webhook is not None,
        has_bin=options.request_bin is not None,
        wait_metrics_s=options.wait_metrics_s,
    )
    how = DeployOptions(poll_s=site.poll_s, account_id=account.id)
    removal = Removal(account, site.stack, how)
    if options.removed is not None:
        return console.report([], removal.remove(console.say))
    stand = Stand(site, how, webhook, options.request_bin)
    console.say(
        f"In {account.region} of account {account.id}, as {account.caller}, this will be created, tried and "
        f"{'kept' if options.keep else 'removed again'}:",
        *(f"  {line}" for line in stand.describe()),
        _COST,
        f"If this process is killed, remove what it made with: {removal.command}",
    )
    if not options.yes and not console.confirm("Verify this account?", otherwise="nothing was created"):
        raise DeclinedError("nothing was created")
    return _verify(stand, removal, console, keep=options.keep)


def _verify(stand: Stand, removal: Removal, console: Console, *, keep: bool) -> int:
    rows: list[Row] = []
    left: list[str] = []
    try:
        stand.build(console.say)
        for row in make(CHECKS, stand.site):
            rows.append(row)
            console.say(f"{row.verdict:<8} {row.check.name}")
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted before every check was made") from None
    finally:
        if keep:
            console.say(f"Kept: remove it with {removal.command}")
        else:
            left = removal.remove(console.say)
            console.hint(*left)
    console.say("", *render_table(rows), "", *render_summary(rows))
    return EXIT_FAILED if left or any(row.verdict is Verdict.DIFFERS for row in rows) else EXIT_DONE


def _read_webhook(options: Options, console: Console) -> pydantic.SecretStr | None:
    if options.webhook_file is None:
        return None
    return read_webhook_files([(DEFAULT_DESTINATION, options.webhook_file)], console)[DEFAULT_DESTINATION]

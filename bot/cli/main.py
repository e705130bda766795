"""The command line, ``voice-relay``: the one module that knows both the bot and where it runs.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 the store is unusable.

A command imports what it needs when it is run: reading it all takes half a second, in which Ctrl-C would
otherwise end in a traceback.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bot.cli.deploy_arguments import add_deploy, add_destroy, add_outputs
from bot.cli.execution_arguments import add_send_test, add_status, add_stop
from bot.cli.outbox_arguments import add_outbox, add_trace
from bot.cli.parser import CommandParser
from bot.cli.rules_arguments import add_rules
from bot.errors import RelayError, SettingsError, StoreError

if TYPE_CHECKING:
    from bot.api.target import Target
    from bot.settings.settings import ApiSettings, Settings
    from bot.telemetry.redaction import Redactor
    from bot.text import Answer

_T = TypeVar("_T")

EXIT_FAILED = 1
EXIT_SETTINGS = 2
EXIT_STORE = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* names and return its exit code."""
    try:
        arguments = _parser().parse_args(argv)
        command: Callable[[argparse.Namespace], int] = arguments.command
        return command(arguments)
    except SettingsError as error:
        for problem in error.problems:
            print(f"voice-relay: {problem}", file=sys.stderr)
        return EXIT_SETTINGS
    except StoreError as error:
        print(f"voice-relay: {error}", file=sys.stderr)
        return EXIT_STORE
    except RelayError as error:
        print(f"voice-relay: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt as interrupt:
        # What goes on without us says so.
        if str(interrupt):
            print(f"\nvoice-relay: {interrupt}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = CommandParser(
        prog="voice-relay",
        description="Forward what happens in Discord voice channels into AWS Step Functions workflows.",
        epilog="Settings are environment variables, a .env file or files of secrets: see .env.example.",
    )
    parser.add_argument("--version", action="version", version=metadata.version("voice-relay"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("run", help="watch Discord and forward what happens, until stopped")
    command.set_defaults(command=_run)
    command = commands.add_parser(
        "demo", help="play an evening in a guild through the whole path, on this machine alone"
    )
    command.add_argument("--plain", action="store_true", help="no colours, no progress bar")
    command.add_argument(
        "--pace", type=float, default=1.0, help="stretches the pauses; 0 has none (default: %(default)s)"
    )
    command.set_defaults(command=_demo)
    add_send_test(commands).set_defaults(command=_send_test)
    add_status(commands).set_defaults(command=_status)
    add_stop(commands).set_defaults(command=_stop)
    add_rules(commands).set_defaults(command=_check_rules)
    add_outbox(commands).set_defaults(command=_outbox)
    add_trace(commands).set_defaults(command=_trace)
    add_deploy(commands).set_defaults(command=_deploy)
    add_destroy(commands).set_defaults(command=_destroy)
    add_outputs(commands).set_defaults(command=_outputs)
    return parser


def _run(_: argparse.Namespace) -> int:
    from bot.app import run

    settings, redactor = _prepare()

    async def body() -> None:
        async with _target(settings, redactor) as target:
            await run(settings, target)

    _run_async(body())
    return 0


def _send_test(arguments: argparse.Namespace) -> int:
    from bot.cli.send_test import answer_send_test, check_send_test
    from bot.settings.settings import load_api_settings
    from bot.telemetry.logs import configure_logging

    check_send_test(arguments)
    settings = load_api_settings()
    # The answer alone is on the standard output, so that it can be caught.
    redactor = configure_logging(settings.log_format, settings.log_level, settings.secrets(), sys.stderr)

    async def body() -> "Answer":
        async with _target(settings, redactor) as target:
            deployed = settings.api_endpoint is not None
            return await answer_send_test(arguments, target, _tell, _show, deployed=deployed)

    return _say(_run_async(body()))


def _status(arguments: argparse.Namespace) -> int:
    from bot.cli.status import answer_status, find_execution

    arn, watched = find_execution(arguments), sys.stderr.isatty()
    settings = _api_settings()
    return _ask_api(settings, lambda target: answer_status(arguments, arn, target, _tell, watched=watched))


def _stop(arguments: argparse.Namespace) -> int:
    from bot.cli.status import NOT_STOPPED, answer_stop, confirm_stop, find_execution
    from bot.text import Answer

    arn = find_execution(arguments)
    settings = _api_settings()
    if not confirm_stop(arguments, arn):
        return _say(Answer([], [NOT_STOPPED]))
    return _ask_api(settings, lambda target: answer_stop(arn, target))


def _api_settings() -> "ApiSettings":
    from bot.cli.status import require_endpoint
    from bot.settings.settings import load_api_settings

    settings = load_api_settings()
    require_endpoint(settings.api_endpoint)
    return settings


def _ask_api(settings: "ApiSettings", ask: "Callable[[Target], Coroutine[Any, Any, Answer]]") -> int:
    """Print what is said by the API of the settings; logs go where the answer does not."""
    from bot.telemetry.logs import configure_logging

    redactor = configure_logging("auto", "warning", settings.secrets(), sys.stderr)

    async def body() -> "Answer":
        async with _target(settings, redactor) as target:
            return await ask(target)

    return _say(_run_async(body()))


def _tell(line: str) -> None:
    print(f"voice-relay: {line}", file=sys.stderr, flush=True)


def _show(line: str) -> None:
    """Print a line of an answer whose end is still to come."""
    from bot.text import Answer

    _say(Answer([line]))


def _check_rules(arguments: argparse.Namespace) -> int:
    from bot.cli.rules import Example, check_rules

    about = (arguments.role, arguments.category, arguments.afk)
    if arguments.event is None and any(about):
        raise SettingsError(["--role, --category and --afk tell more about an event: give one with --event"])
    report = check_rules(
        arguments.file or _rules_file(), None if arguments.event is None else Example(arguments.event, *about)
    )
    for line in report.lines:
        print(line)
    return 0 if report.met else EXIT_FAILED


def _rules_file() -> Path | None:
    from bot.settings.settings import load_rules_file

    try:
        return load_rules_file()
    except SettingsError as error:
        raise SettingsError([*error.problems, "or name the file: voice-relay rules check FILE"]) from None


def _outbox(arguments: argparse.Namespace) -> int:
    from bot.cli.outbox import answer_outbox

    return _say(answer_outbox(arguments))


def _trace(arguments: argparse.Namespace) -> int:
    from bot.cli.trace import answer_trace

    return _say(answer_trace(arguments))


def _deploy(arguments: argparse.Namespace) -> int:
    from infra.cli.console import Console
    from infra.cli.deploy import run_deploy

    return run_deploy(arguments, Console.of_process())


def _destroy(arguments: argparse.Namespace) -> int:
    from infra.cli.console import Console
    from infra.cli.destroy import run_destroy

    return run_destroy(arguments, Console.of_process())


def _outputs(arguments: argparse.Namespace) -> int:
    from infra.cli.destroy import answer_outputs

    return _say(answer_outputs(arguments))


def _say(answer: "Answer") -> int:
    from bot.text import fit

    try:
        for line in answer.lines:
            print(fit(line, sys.stdout.encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough. https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for problem in answer.problems:
        print(f"voice-relay: {problem}", file=sys.stderr)
    return EXIT_FAILED if answer.problems else 0


def _demo(arguments: argparse.Namespace) -> int:
    from infra.local.demo import play

    return _run_async(play(plain=arguments.plain, pace=arguments.pace))


def _prepare() -> "tuple[Settings, Redactor]":
    from bot.settings.settings import load_settings
    from bot.telemetry.logs import configure_logging

    settings = load_settings()
    return settings, configure_logging(settings.log_format, settings.log_level, settings.secrets())


@asynccontextmanager
async def _target(settings: "ApiSettings | Settings", redactor: "Redactor") -> AsyncIterator["Target"]:
    """The API of the settings, or without one, an embedded AWS with the templates deployed to it."""
    from bot.api.credentials import ChainCredentials
    from bot.api.region import resolve_region
    from bot.api.target import Target
    from bot.settings.aws import open_session

    if settings.api_endpoint is not None:
        region = await asyncio.to_thread(
            resolve_region, settings.api_endpoint, settings.aws_region, open_session=open_session
        )
        credentials = ChainCredentials(add_secret=redactor.add, open_session=open_session)
        yield Target(settings.api_endpoint, region, credentials)
        return
    async with _single_machine(settings, redactor) as target:
        yield target


@asynccontextmanager
async def _single_machine(
    settings: "ApiSettings | Settings", redactor: "Redactor"
) -> AsyncIterator["Target"]:
    try:
        from infra.local.machine import single_machine
    except ModuleNotFoundError as error:
        problem = (
            f"VOICE_RELAY_API_ENDPOINT is not set, and single-machine mode lacks the package {error.name}: "
            "set it to the stack's ApiEndpoint, or install voice-relay[local]"
        )
        raise SettingsError([problem]) from error
    from bot.settings.values import WEBHOOK_MISSING

    if settings.webhook_url is None:
        raise SettingsError([f"VOICE_RELAY_WEBHOOK_URL {WEBHOOK_MISSING}"])
    import structlog
    from botocore.credentials import ReadOnlyCredentials

    from bot.api.target import FixedCredentials, Target

    log = structlog.get_logger(__name__)
    log.info("single_machine_starting")
    async with single_machine(webhook_url=settings.webhook_url, grace_s=settings.shutdown_grace_s) as machine:
        key = machine.credentials
        redactor.add(key.secret_access_key)
        log.info("single_machine_ready")
        credentials = ReadOnlyCredentials(key.access_key_id, key.secret_access_key, key.session_token)
        yield Target(machine.api_endpoint, machine.region, FixedCredentials(credentials))


def _run_async(body: Coroutine[Any, Any, _T]) -> _T:
    """Run *body* on uvloop where it is installed."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run(body)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(body)


if __name__ == "__main__":
    sys.exit(main())

"""The command line, ``voice-relay``: the table of commands, and what exit code an error has.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 the store is unusable, 130 interrupted.
"""

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Final

from bot.cli.interruption import interrupted_by_sigterm
from bot.cli.parser import Command, CommandGroup, CommandModule, CommandParser
from bot.console import EXIT_FAILED, Console
from bot.errors import RelayError, SettingsError, StoreError

_EXIT_SETTINGS: Final = 2
_EXIT_STORE: Final = 3
_EXIT_INTERRUPTED: Final = 130

COMMANDS: Final[tuple[Command | CommandGroup, ...]] = (
    Command("run", "bot.cli.run", "watch Discord and forward voice events until stopped"),
    Command("demo", "bot.cli.demo", "play an evening in a guild, on this machine alone"),
    Command("send-test", "bot.cli.send_test", "send one made-up event through the API"),
    Command("status", "bot.cli.status", "show an execution: its times, input, output and error"),
    Command("stop", "bot.cli.stop", "stop a running execution"),
    Command("signal", "bot.cli.signal", "let an execution go on that waits for a signal"),
    CommandGroup(
        "rules",
        "work with the routing rules",
        (
            Command(
                "check", "bot.cli.rules", "check a rules file, and show which rules an example event meets"
            ),
        ),
    ),
    CommandGroup(
        "events",
        "show what events look like",
        (
            Command("schema", "bot.cli.event_schema", "print the JSON Schema of the events"),
            Command("sample", "bot.cli.event_sample", "print an example of an event"),
        ),
    ),
    CommandGroup(
        "workflow",
        "write a workflow of your own",
        (Command("new", "bot.cli.new_workflow", "write a starting point with a test"),),
    ),
    CommandGroup(
        "outbox",
        "inspect the outbox, redrive or drop dead letters, park lanes",
        (
            Command(
                "status", "bot.cli.outbox.status", "count waiting events, batches in flight, dead letters"
            ),
            Command("list", "bot.cli.outbox.list", "list the dead letters, or the waiting events"),
            Command("show", "bot.cli.outbox.show", "show a dead letter or waiting event in full"),
            Command("redrive", "bot.cli.outbox.redrive", "send dead letters again"),
            Command("drop", "bot.cli.outbox.drop", "delete dead letters for good"),
            Command("park", "bot.cli.outbox.park", "let a workflow's events gather instead of being sent"),
            Command("release", "bot.cli.outbox.release", "let parked lanes go on"),
            Command("drop-lane", "bot.cli.outbox.drop_lane", "delete the events that wait in lanes for good"),
        ),
    ),
    Command("trace", "bot.cli.trace", "show what became of an event"),
    Command("deploy", "infra.cli.deploy", "create or update the relay or another stack on AWS"),
    Command("destroy", "infra.cli.destroy", "delete a stack from AWS"),
    Command("outputs", "infra.cli.outputs", "show a stack's endpoint, policies, workflows, logs"),
    Command("verify", "infra.cli.verify", "try an AWS account with a stack of its own, and remove that"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* names and return its exit code."""
    console = Console.of_process()
    try:
        with interrupted_by_sigterm():
            return _run_command(argv, console)
    except SettingsError as error:
        console.hint(*error.problems)
        return _EXIT_SETTINGS
    except StoreError as error:
        console.hint(str(error))
        return _EXIT_STORE
    except RelayError as error:
        console.hint(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt as interrupt:
        # It has a message where something continues without this process.
        if str(interrupt):
            console.err.write("\n")
            console.hint(str(interrupt))
        return _EXIT_INTERRUPTED


def build_parser() -> CommandParser:
    parser = CommandParser(
        prog="voice-relay",
        description="Forward voice channel events from Discord into AWS Step Functions workflows.",
        epilog="Settings are environment variables, a .env file or secret files: see .env.example.",
    )
    parser.add_argument("--version", action="version", version=metadata.version("voice-relay"))
    parser.add_commands(COMMANDS, metavar="COMMAND")
    return parser


def _run_command(argv: Sequence[str] | None, console: Console) -> int:
    arguments = build_parser().parse_args(argv)
    command: CommandModule = arguments.command
    return command.run(command.read_options(arguments), console)


if __name__ == "__main__":
    sys.exit(main())

"""``voice-relay run``: the relay itself, until it is stopped."""

from dataclasses import dataclass

from bot import app
from bot.cli.connect import connect
from bot.cli.event_loop import run_async
from bot.cli.parser import Arguments, CommandParser
from bot.console import EXIT_DONE, Console
from bot.settings.settings import load_settings
from bot.telemetry.logs import configure_logging


@dataclass(frozen=True, slots=True)
class Options:
    """None: the relay is configured by its settings alone."""


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Watch Discord and forward voice events until stopped by SIGTERM or SIGINT."


def read_options(_: Arguments) -> Options:
    return Options()


def run(_: Options, _console: Console) -> int:
    settings = load_settings()
    redactor = configure_logging(settings.log_format, settings.log_level, settings.secrets())

    async def relay() -> None:
        async with connect(settings, redactor) as target:
            await app.run(settings, target)

    run_async(relay())
    return EXIT_DONE

"""``voice-relay demo``: an evening in a guild through the whole path, with no account and no token."""

from dataclasses import dataclass

from bot.cli.event_loop import run_async
from bot.cli.parser import Arguments, CommandParser
from bot.console import Console
from bot.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Options:
    """``pace`` stretches the pauses; 0 has none."""

    plain: bool
    pace: float


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Play an evening in a guild through the whole path, on this machine alone."
    parser.add_argument("--plain", action="store_true", help="no colours, no progress bar")
    parser.add_argument(
        "--pace", type=float, default=1.0, help="stretches the pauses; 0 has none (default: %(default)s)"
    )


def read_options(arguments: Arguments) -> Options:
    return Options(plain=arguments.plain, pace=arguments.pace)


def run(options: Options, _: Console) -> int:
    try:
        from infra.local.demo import play
    except ModuleNotFoundError as error:
        problem = f"the demo lacks the package {error.name}: install voice-relay[local]"
        raise SettingsError([problem]) from error
    return run_async(play(plain=options.plain, pace=options.pace))

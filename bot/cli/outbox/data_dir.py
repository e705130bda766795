"""Where the outbox is: in the directory that the command line or the settings name."""

from pathlib import Path

from bot.cli.parser import Arguments, CommandParser
from bot.settings.settings import load_data_dir


def add_data_dir(parser: CommandParser) -> None:
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where the outbox is (default: VOICE_RELAY_DATA_DIR, or ./data)",
    )


def find_data_dir(arguments: Arguments) -> Path:
    """Return the directory; no setting but its own is read."""
    named: Path | None = arguments.data_dir
    return load_data_dir() if named is None else named

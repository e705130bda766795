"""``voice-relay run``: the relay itself, until it is stopped."""

from dataclasses import dataclass

import structlog

from bot import app
from bot.cli.connect import connect
from bot.cli.event_loop import run_async
from bot.cli.parser import Arguments, CommandParser
from bot.console import EXIT_DONE, Console
from bot.errors import SettingsError
from bot.routing.rules_file import load_rules
from bot.settings.settings import Settings, load_rules_settings, load_settings
from bot.settings.sources import ENV_FILE, find_exposed, find_secrets_dir
from bot.telemetry.logs import configure_logging


@dataclass(frozen=True, slots=True)
class Options:
    """None: the relay is configured by its settings alone."""


def add_arguments(parser: CommandParser) -> None:
    parser.description = "Watch Discord and forward voice events until stopped by SIGTERM or SIGINT."


def read_options(_: Arguments) -> Options:
    return Options()


def run(_: Options, _console: Console) -> int:
    settings = _load_settings()
    workflows = app.check_start(settings)
    redactor = configure_logging(settings.log_format, settings.log_level, settings.secrets())
    _say_sources(settings)

    async def relay() -> None:
        async with connect(settings, redactor, workflows) as target:
            await app.run(settings, target)

    run_async(relay())
    return EXIT_DONE


def _say_sources(settings: Settings) -> None:
    """Log where the settings come from, and a warning for those that every user can read."""
    log = structlog.get_logger(__name__)
    env_file, secrets_dir = ENV_FILE.absolute(), find_secrets_dir()
    log.info(
        "settings_read",
        env_file=str(env_file) if env_file.is_file() else f"none at {env_file}",
        secrets_dir=None if secrets_dir is None else str(secrets_dir),
    )
    if exposed := find_exposed(env_file, secrets_dir, settings.connections_file):
        log.warning("secrets_exposed", files=[str(path) for path in exposed], next="chmod 600 these files")


def _load_settings() -> Settings:
    """Load the settings; raises SettingsError with all their problems and those of the rules file."""
    try:
        return load_settings()
    except SettingsError as error:
        raise SettingsError([*error.problems, *_find_rules_problems()]) from None


def _find_rules_problems() -> tuple[str, ...]:
    try:
        path = load_rules_settings().rules_file
    except SettingsError:
        # The settings' own problems say so already.
        return ()
    try:
        if path is not None:
            load_rules(path)
    except SettingsError as error:
        return error.problems
    return ()

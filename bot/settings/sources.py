"""Where settings come from: the environment, then ``.env``, then files in a secrets directory.

The first source with a value wins. An empty value counts as unset, so that ``.env`` may keep unused lines;
``OPS_PORT`` alone has a meaning when empty: off.
"""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from bot.small_file import read_small

FILE_MAX_BYTES: Final = 64 << 10
"""Room for every setting, many times over."""
PREFIX: Final = "VOICE_RELAY_"
ENV_FILE: Final = Path(".env")
SECRETS_DIR_VARIABLE: Final = f"{PREFIX}SECRETS_DIR"
_SECRETS_DIR: Final = Path("/run/secrets")
_OF_SETTINGS: Final = (PREFIX, "AWS_")


class SourcedSettings(BaseSettings):
    """Base of all settings classes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True, validate_default=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order, each without its empty values."""
        order = (init_settings, env_settings, dotenv_settings, file_secret_settings)
        return tuple(_NonEmpty(settings_cls, source) for source in order)


class _NonEmpty(PydanticBaseSettingsSource):
    """*source* without its empty values, which then come from the next source."""

    def __init__(self, settings_cls: type[BaseSettings], source: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._source = source

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self._source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        values = self._source()
        return {name: value for name, value in values.items() if value != "" or name == "ops_port"}


def find_secrets_dir() -> Path | None:
    """Return the secrets directory; OSError if the variable names one that cannot be read."""
    named = os.environ.get(SECRETS_DIR_VARIABLE)
    if not named:
        return _SECRETS_DIR if _SECRETS_DIR.is_dir() else None
    os.scandir(named).close()
    return Path(named)


def check_files(env_file: Path | None, secrets_dir: Path | None) -> None:
    """Raise OSError if a file that settings are read from is endless, or would keep its reader waiting."""
    paths = [] if env_file is None else [env_file]
    if secrets_dir is not None:
        paths += [path for path in secrets_dir.iterdir() if path.name.upper().startswith(_OF_SETTINGS)]
    _check_sizes(paths)


def _check_sizes(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if stat.S_ISREG(found.st_mode) and found.st_size > FILE_MAX_BYTES:
            raise OSError(errno.EFBIG, f"more than {FILE_MAX_BYTES} bytes", str(path))


def read_env_file(path: Path) -> dict[str, str | None]:
    """Return the variables in *path*, names in lower case, as pydantic reads them; empty without a file.

    Raises OSError for what is no small file.
    """
    _check_sizes([path])
    return dict(DotEnvSettingsSource(SourcedSettings, env_file=path).env_vars)


def read_secret(path: Path) -> str:
    """Return the secret in *path*; raises OSError for what is no small file, and UnicodeDecodeError."""
    return read_small(path, FILE_MAX_BYTES).decode().strip()


def find_exposed(
    env_file: Path, secrets_dir: Path | None, connections_file: Path | None = None
) -> list[Path]:
    """Return the files that every user of this machine can read, though secrets may be in them.

    A directory closed to others protects its files. Those that an orchestrator mounts are its own matter.
    """
    paths = [env_file]
    if secrets_dir is not None and secrets_dir != _SECRETS_DIR:
        paths += sorted(secrets_dir.iterdir())
    if connections_file is not None and connections_file.parent != _SECRETS_DIR:
        paths.append(connections_file)
    return [path for path in dict.fromkeys(paths) if path.is_file() and _is_exposed(path.resolve())]


def _is_exposed(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IROTH and path.parent.stat().st_mode & stat.S_IXOTH)


def find_names(env_file: Path | None, secrets_dir: Path | None) -> set[str]:
    """Return every name with the prefix in any source, in upper case and without the prefix."""
    names = [*os.environ]
    if env_file is not None:
        names += read_env_file(env_file)
    if secrets_dir is not None:
        names += [path.name for path in secrets_dir.iterdir()]
    return {name.upper().removeprefix(PREFIX) for name in names if name.upper().startswith(PREFIX)}

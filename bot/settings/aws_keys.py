"""AWS's keys as settings: refused at the start if they hold what no key can, like a line break.

Without this, a key pasted with a line break would be refused at each request, long after the start.
"""

import os
from pathlib import Path
from typing import Final

from bot.settings.sources import read_env_file, read_secret

_NAMES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_BROKEN: Final = "holds a line break or another character that no key has: set it anew, without"


def find_broken_keys(env_file: Path | None, secrets_dir: Path | None) -> list[str]:
    """Return a problem for each key that cannot stand in a header; a file's values are stripped."""
    found: dict[str, str] = {}
    if secrets_dir is not None:
        paths = {path.name.upper(): path for path in secrets_dir.iterdir()}
        found |= {name: read_secret(paths[name]) for name in _NAMES if name in paths}
    if env_file is not None:
        found |= {
            name.upper(): value.strip()
            for name, value in read_env_file(env_file).items()
            if value is not None
        }
    found |= {name: os.environ[name] for name in _NAMES if os.environ.get(name)}
    return [f"{name} {_BROKEN}" for name in _NAMES if name in found and not _is_usable(found[name])]


def _is_usable(value: str) -> bool:
    return value.isascii() and value.isprintable()

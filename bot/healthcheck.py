"""Checks whether the relay on this machine is alive: ``python -m bot.healthcheck``, exit code 0 or 1.

Containers run this every few seconds, so it imports nothing of the relay and reads its two settings itself,
from the environment and ``.env``.
"""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DEFAULT_PORT: Final = "8080"
_PORT: Final = "VOICE_RELAY_OPS_PORT"
_TIMEOUT_S: Final = 3.0
# A server that listens on all addresses is asked on loopback.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # nothing is bound


def check(environ: Mapping[str, str]) -> tuple[bool, str]:
    """Return whether the relay is alive, and a line to print."""
    port = environ.get(_PORT, DEFAULT_PORT)
    if port == "":
        return True, "not checked: VOICE_RELAY_OPS_PORT is empty, so the ops server is off"
    if not port.isdecimal() or int(port) == 0:
        return False, "cannot check: VOICE_RELAY_OPS_PORT must be a fixed port, like 8080"
    host = environ.get("VOICE_RELAY_OPS_HOST", "")
    host = _LOOPBACK.get(host, host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/healthz"
    # No proxy: the request stays on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT_S):
            return True, f"alive: {url} answers"
    except urllib.error.HTTPError as error:
        error.close()
        return False, f"not alive: {url} answers {error.code}"
    except (OSError, ValueError) as error:
        return False, f"not alive: {url} does not answer ({getattr(error, 'reason', error)})"


def read_settings(env_file: Path, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the settings: the environment's, else the file's; an empty host counts as unset."""
    if not env_file.is_file():
        return environ
    # The parser that the relay uses too; imported only if there is a file.
    import dotenv

    found = {name.upper(): value or "" for name, value in dotenv.dotenv_values(env_file).items()}
    return {**found, **{name: value for name, value in environ.items() if value or name == _PORT}}


def main() -> int:
    """Print the line, which containers keep, and return the exit code."""
    try:
        alive, line = check(read_settings(Path(".env"), os.environ))
    except (OSError, UnicodeDecodeError) as error:
        alive, line = False, f"cannot check: cannot read .env ({type(error).__name__})"
    sys.stdout.write(line + "\n")
    return 0 if alive else 1


if __name__ == "__main__":
    sys.exit(main())

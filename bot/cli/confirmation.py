"""The question whether somebody means it, before what cannot be undone; asked outside of any event loop.

Within one, the first Ctrl-C would wait for an answer that nobody wants to give any more.
"""

import sys

from bot.errors import SettingsError


def require_terminal() -> None:
    """Raise SettingsError where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise SettingsError(["there is no terminal to ask at whether this is meant: give --yes as well"])


def confirm(question: str, otherwise: str) -> bool:
    """Ask at the terminal; no answer is a no, and Ctrl-C a KeyboardInterrupt that says *otherwise*."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    try:
        return sys.stdin.readline().strip().lower() in {"y", "yes"}
    except KeyboardInterrupt:
        raise KeyboardInterrupt(otherwise) from None

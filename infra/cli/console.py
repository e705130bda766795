"""The person at the terminal, or the lack of one."""

import getpass
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from bot.errors import SettingsError
from bot.text import fit


@dataclass(frozen=True)
class Console:
    """Where a command speaks and asks. What is asked goes to *err*, so that *out* can go to a file."""

    input: TextIO
    out: TextIO
    err: TextIO
    ask_hidden: Callable[[str], str]

    @classmethod
    def of_process(cls) -> "Console":
        return cls(sys.stdin, sys.stdout, sys.stderr, getpass.getpass)

    @property
    def can_ask(self) -> bool:
        return self.input.isatty()

    def say(self, *lines: str) -> None:
        for line in lines:
            self.out.write(fit(line, self.out.encoding or "ascii") + "\n")
        self.out.flush()

    def require_answer(self, *, given: bool) -> None:
        """Raise SettingsError where nobody can be asked and the answer was not *given* before."""
        if not given and not self.can_ask:
            problem = "there is no terminal to ask at whether this is meant: give --yes as well"
            raise SettingsError([problem])

    def confirm(self, question: str) -> bool:
        """Ask; no answer is a no."""
        self.err.write(f"{question} [y/N] ")
        self.err.flush()
        with _asking():
            return self.input.readline().strip().lower() in {"y", "yes"}

    def ask_secret(self, question: str) -> str | None:
        """Ask without showing what is typed; ``None`` where the input has come to its end."""
        with _asking():
            try:
                return self.ask_hidden(question)
            except EOFError:
                self.err.write("\n")
                return None

    def warn(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.err.write(fit(f"voice-relay: {line}", self.err.encoding or "ascii") + "\n")
        self.err.flush()


@contextmanager
def _asking() -> Iterator[None]:
    """Whoever breaks off at a question hears what has come of it: all questions come before the work."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("nothing was changed") from None

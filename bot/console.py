"""The one console: everything that a command prints or asks goes through here.

Answers go to the standard output; questions, hints and problems to the standard error, so that the answer
can be piped into a file.
"""

import getpass
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TextIO

from bot.errors import SettingsError
from bot.text import escape, fit, render_facts, shorten

_HINT_MAX_CHARS: Final = 4000

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1


@dataclass(frozen=True)
class Console:
    """The streams that a command talks to; ``ask_hidden`` reads a line without showing it.

    Ask outside an event loop: inside one, the first Ctrl-C would still wait for an answer.
    """

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

    @property
    def is_watched(self) -> bool:
        """Whether hints appear on a terminal."""
        return self.err.isatty()

    def say(self, *lines: str) -> None:
        """Print lines of the answer."""
        try:
            _write(self.out, lines)
        except BrokenPipeError:
            # The reader, such as `head`, has closed the pipe and needs no more.
            # https://docs.python.org/3/library/signal.html#note-on-sigpipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())

    def say_facts(self, facts: Sequence[tuple[str, str]], *, width: int = 0) -> None:
        """Print each fact after its name, as ``render_facts`` lays them out."""
        self.say(*render_facts(facts, width=width))

    def hint(self, *lines: str) -> None:
        """Print lines about the answer: what is wrong, or what is being waited for."""
        _write(self.err, [shorten(f"voice-relay: {line}", _HINT_MAX_CHARS) for line in lines])

    def report(self, lines: Sequence[str], problems: Sequence[str] = ()) -> int:
        """Print an answer and its problems, and return the exit code: with any problem, 1."""
        self.say(*lines)
        self.hint(*problems)
        return EXIT_FAILED if problems else EXIT_DONE

    def read(self) -> str:
        """Read the standard input to its end."""
        return self.input.read()

    def read_bytes(self) -> bytes:
        return self.input.buffer.read()

    def require_terminal(self) -> None:
        """Raise SettingsError if no question can be asked."""
        if not self.can_ask:
            raise SettingsError(["confirmation needs a terminal: give --yes to go ahead without one"])

    def confirm(self, question: str, *, otherwise: str) -> bool:
        """Ask at the terminal; only y and yes agree. Ctrl-C is a KeyboardInterrupt that says *otherwise*."""
        self.require_terminal()
        with _interruptible(otherwise):
            self.err.write(f"{question} [y/N] ")
            self.err.flush()
            return self.input.readline().strip().lower() in {"y", "yes"}

    def ask_secret(self, question: str, *, otherwise: str) -> str | None:
        """Ask without showing what is typed; ``None`` at the end of the input. Ctrl-C says *otherwise*."""
        with _interruptible(otherwise):
            try:
                return self.ask_hidden(question)
            except EOFError:
                self.err.write("\n")
                return None


def _write(stream: TextIO, lines: Sequence[str]) -> None:
    """Write *lines*, each as one: a name in it may have line breaks, or control the terminal."""
    stream.writelines(fit(escape(line), stream.encoding or "ascii") + "\n" for line in lines)
    stream.flush()


@contextmanager
def _interruptible(otherwise: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(otherwise) from None

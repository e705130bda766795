"""A console without a terminal, which keeps what is printed and types what it is given."""

import io
from typing import cast

from bot.console import Console


class Keyboard(io.StringIO):
    """A terminal's input, where a person types."""

    def isatty(self) -> bool:
        return True


class RecordingConsole(Console):
    """Types *typed* at a terminal; without it, there is no terminal. Hints are *watched* on one."""

    def __init__(self, typed: str | None = None, *, watched: bool = False) -> None:
        source = io.StringIO() if typed is None else Keyboard(typed)
        super().__init__(
            source, io.StringIO(), Keyboard() if watched else io.StringIO(), lambda _: typed or ""
        )

    @property
    def lines(self) -> list[str]:
        """The lines of the answer."""
        return cast("io.StringIO", self.out).getvalue().splitlines()

    @property
    def hints(self) -> list[str]:
        """What was printed about it, questions included."""
        return cast("io.StringIO", self.err).getvalue().splitlines()

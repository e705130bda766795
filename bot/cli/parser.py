"""A parser of the command line that answers a slip with the usage of the command that it was made in."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """Names the option or the command that may have been meant; its commands' parsers do so too."""

    # What a command's parser does not know, argparse hands up, for the one at the top to complain about.
    def parse_known_args(  # type: ignore[override]  # one signature stands for its overloads
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            guesses = (self._guess(each) for each in unknown if each.startswith("--"))
            self.error(f"unrecognized arguments: {' '.join(unknown)}{''.join(guesses)}")
        return found, unknown

    def _guess(self, option: str) -> str:
        return _did_you_mean(option.partition("=")[0], self._option_string_actions)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            guess = _did_you_mean(str(value), map(str, action.choices or ()))
            raise argparse.ArgumentError(action, f"{error.message}{guess}") from None


def _did_you_mean(given: str, known: Iterable[str]) -> str:
    import difflib

    nearest = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""

"""One check: a sentence of what is expected, and a function that says what was seen."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import botocore.exceptions

from bot.errors import RelayError
from infra.deploy.aws_errors import explain
from infra.verify.site import Site


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    DIFFERS = "differs"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Seen:
    """What a check saw, and whether that is what was expected."""

    ok: bool
    text: str


class Skipped(Exception):
    """The check cannot be made here; the message says why."""


@dataclass(frozen=True)
class Check:
    """``run`` may raise Skipped; any error of AWS means that it differs. ``source`` is where AWS says so."""

    name: str
    expected: str
    run: Callable[[Site], Seen]
    source: str = ""


@dataclass(frozen=True)
class Row:
    """A check that was made; ``seen`` is the reason of one that was skipped."""

    check: Check
    verdict: Verdict
    seen: str


_FAILURES: Final = (
    botocore.exceptions.ClientError,
    botocore.exceptions.BotoCoreError,
    RelayError,
    TimeoutError,
    OSError,
    # An answer of another shape than expected.
    LookupError,
    ValueError,
    TypeError,
)


def make(checks: Iterable[Check], site: Site) -> Iterator[Row]:
    """Make the checks one after another."""
    for check in checks:
        try:
            seen = check.run(site)
        except Skipped as why:
            yield Row(check, Verdict.SKIPPED, str(why))
        except _FAILURES as error:
            yield Row(check, Verdict.DIFFERS, _describe(error))
        else:
            yield Row(check, Verdict.OK if seen.ok else Verdict.DIFFERS, seen.text)


def _describe(error: Exception) -> str:
    if isinstance(error, botocore.exceptions.ClientError | botocore.exceptions.BotoCoreError):
        return explain(error)
    return f"{type(error).__name__}: {error}"

"""Makes States.Runtime and States.DataLimitExceeded fatal; ministack lets Retry and Catch match them."""

# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html

from collections.abc import Sequence

from infra.local.aws.hooks.seam import Seam

_MATCHES = Seam("ministack.services.stepfunctions", "_error_matches", ("error_equals", "error"))
SEAMS = (_MATCHES,)

_TERMINAL = frozenset({"States.Runtime", "States.DataLimitExceeded"})


def install() -> None:
    matches = _MATCHES.original()

    def error_matches(error_equals: Sequence[str], error: str) -> bool:
        return error not in _TERMINAL and bool(matches(error_equals, error))

    _MATCHES.replace(error_matches)

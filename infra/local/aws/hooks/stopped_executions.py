"""Keeps a stopped execution ABORTED when its task fails afterwards; ministack would call it FAILED."""

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html

from typing import Any

from infra.local.aws.hooks.seam import Seam

_FAIL = Seam("ministack.services.stepfunctions", "_fail_execution", ("execution", "error", "cause"))
SEAMS = (_FAIL,)


def install() -> None:
    fail = _FAIL.original()

    def fail_execution(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)

    _FAIL.replace(fail_execution)

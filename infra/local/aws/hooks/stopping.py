"""An execution that was stopped stays stopped; in ministack a task that fails afterwards fails it as well."""

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

"""Expressions are evaluated as on a fast machine, however busy this one is."""

import subprocess
import sys

import pytest

# In a process of its own, because the hook replaces parts of ministack for good.
EVALUATE = """
import itertools, sys
from infra.local.aws.hooks import jsonata_engine
from jsonata.timebox import Timebox
from ministack.services import stepfunctions
jsonata_engine.install()
times = itertools.count(0, int(sys.argv[1]))
Timebox.current_milli_time = staticmethod(lambda: next(times))
try:
    print(stepfunctions._evaluate_jsonata("1 + 1", {}))
except stepfunctions._ExecutionError as error:
    print(error.error)
"""


@pytest.mark.parametrize(("step_ms", "result"), [(2_000, "2"), (60_000, "States.QueryEvaluationError")])
def test_limit_spares_slow_evaluations(step_ms: int, result: str) -> None:
    """The clock advances by *step_ms* each time that the engine reads it."""
    ran = subprocess.run(
        [sys.executable, "-c", EVALUATE, str(step_ms)], check=True, capture_output=True, text=True
    )
    assert ran.stdout.strip() == result

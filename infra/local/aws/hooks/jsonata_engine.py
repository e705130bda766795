"""Caches parsed JSONata expressions, evaluates one at a time, and gives each longer than a second.

ministack parses an expression again for every execution, which costs several times its evaluation. It also
evaluates on one thread per execution with AWS's limit of one second, by the clock on the wall: in a burst, or
on a busy machine, executions spent that second waiting and failed with States.QueryEvaluationError. The
longer limit still ends a runaway expression.
"""

import copy
import functools
import threading
from typing import Any

from infra.local.aws.hooks.seam import Seam, module

_EVALUATE = Seam(
    "ministack.services.stepfunctions",
    "_evaluate_jsonata",
    ("expression", "raw_input", "ctx", "result", "error_output"),
)
SEAMS = (_EVALUATE,)

_PARSED_KEPT = 256
_EVALUATION_MAX_MS = 30_000


def install() -> None:
    evaluate = _EVALUATE.original()
    engine = module("jsonata").Jsonata
    parse = functools.lru_cache(_PARSED_KEPT)(engine.jsonata)
    lock = threading.Lock()

    def parsed(expression: str, timeout: int | None = None) -> Any:
        # Share the syntax tree, but not the environment with its functions and clock.
        fresh = copy.copy(parse(expression, timeout=timeout))
        fresh.environment = fresh.create_frame(engine.static_frame)
        if timeout is not None:
            fresh.environment.set_runtime_bounds(_EVALUATION_MAX_MS, None)
        # As the constructor does: evaluation uses the instance that its thread created last.
        engine.CURRENT.jsonata = fresh
        return fresh

    def evaluate_locked(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return evaluate(*args, **kwargs)

    # The only other caller just checks whether an expression parses.
    engine.jsonata = staticmethod(parsed)
    _EVALUATE.replace(evaluate_locked)

"""JSONata expressions are parsed once, and evaluated one at a time.

ministack parses an expression anew for every execution, which costs several times its evaluation. It also
evaluates on a thread for each execution with a second to do it in: a burst of executions used up that second
waiting for the interpreter's lock, and failed with States.QueryEvaluationError.
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


def install() -> None:
    evaluate = _EVALUATE.original()
    engine = module("jsonata").Jsonata
    parse = functools.lru_cache(_PARSED_KEPT)(engine.jsonata)
    one_at_a_time = threading.Lock()

    def parsed(expression: str, timeout: int | None = None) -> Any:
        # The syntax tree is shared; the environment, with the functions and the clock in it, is not.
        fresh = copy.copy(parse(expression, timeout=timeout))
        fresh.environment = fresh.create_frame(engine.static_frame)
        if timeout is not None:
            fresh.environment.set_runtime_bounds(timeout, None)
        # As the constructor does: evaluation goes on with the instance that its thread made last.
        engine.CURRENT.jsonata = fresh
        return fresh

    def evaluate_alone(*args: Any, **kwargs: Any) -> Any:
        with one_at_a_time:
            return evaluate(*args, **kwargs)

    # The one caller besides evaluation only wants to know whether an expression parses.
    engine.jsonata = staticmethod(parsed)
    _EVALUATE.replace(evaluate_alone)

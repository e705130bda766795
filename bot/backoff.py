"""How long to wait before the next attempt: exponential backoff with full jitter.

For requests and connections. Polling an execution (``bot/api/executions.py``), a failing disk
(``bot/outbox/service.py``) and posts to Discord (``workflow/source/shared/posting.yaml``) have waits of
their own.
"""

# https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/

import random
from collections.abc import Callable

BASE_S = 0.5
CAP_S = 60.0


def backoff_s(
    attempts: int,
    retry_after_s: float | None = None,
    *,
    cap_s: float | None = None,
    random: Callable[[], float] = random.random,
) -> float:
    """Return how long to wait after *attempts* failures: *retry_after_s*, and on top a random time.

    That is anything from nothing to the exponential bound, so that callers that failed together do not come
    back together.
    """
    bound_s = min(CAP_S if cap_s is None else cap_s, BASE_S * 2.0 ** min(attempts, 16))
    return (retry_after_s or 0.0) + bound_s * random()

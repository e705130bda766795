"""``kill -9`` at two hundred random moments under load, and an exact audit of every transition.

Each life is the whole program, as ``voice-relay run`` starts it, in a process that was forked after its
imports (``tests.support.warm``): what a kill can do to the relay begins after them. Kills of the program from
its very first instruction are in ``test_kill``; the long version of this one is ``make soak``.
"""

from pathlib import Path

import pytest

from tests.support.admitting import crash_admissions
from tests.support.crashing import crash_warm

LIVES = 50
SEEDS = (31, 32, 33, 34)


@pytest.mark.parametrize("seed", SEEDS)
async def test_many_kills_lose_nothing(tmp_path: Path, seed: int) -> None:
    """Fifty kills for each of four seeds: a session that lives on leaves no gap.

    What was missed where it did not is declared, and its net difference inferred.
    """
    print(f"seed {seed}")  # noqa: T201  # shown where the test fails
    found = await crash_warm(tmp_path, seed=seed, kills=LIVES)
    print(found)  # noqa: T201
    assert found.kills == LIVES
    # It was not all for nothing: much was seen, something was missed, and processes came and went in between.
    assert found.audit.seen > 1000
    assert found.audit.missed > 100
    assert found.audit.inferred > 10
    assert found.audit.gaps > LIVES // 4
    assert found.audit.reasons == {"restart"}
    assert found.repeats > 0


async def test_kills_amid_admissions(tmp_path: Path) -> None:
    """One card, one decision and at most one move for each visit; ``make soak`` kills fifty times."""
    found = await crash_admissions(tmp_path, seed=35, kills=8)
    print(found)  # noqa: T201
    assert found.outcomes["admitted"] > 0

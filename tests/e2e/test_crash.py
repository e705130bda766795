"""``kill -9`` at two hundred random moments under load, and an exact account of every transition.

Each life is the whole program, as ``voice-relay run`` starts it, in a process that was forked after its
imports (``tests.support.warm``): what a kill can do to the relay begins after them. Kills of the program from
its very first instruction are in ``test_kill``; the long version of this one is ``make soak``.
"""

from pathlib import Path

import pytest

from tests.e2e.crashing import crash_warm

LIVES = 50
SEEDS = (31, 32, 33, 34)


@pytest.mark.parametrize("seed", SEEDS)
async def test_200_kills_under_load_lose_double_and_invent_nothing(tmp_path: Path, seed: int) -> None:
    """Fifty kills for each of four seeds: what was not seen is declared, and its net difference inferred."""
    print(f"seed {seed}")  # noqa: T201  # shown where the test fails
    found = await crash_warm(tmp_path, seed=seed, kills=LIVES)
    print(found)  # noqa: T201
    assert found.kills == LIVES
    # It was not all for nothing: much was seen, something was missed, and processes came and went in between.
    assert found.account.seen > 1000
    assert found.account.missed > 100
    assert found.account.inferred > 10
    assert found.account.gaps > LIVES // 4
    assert found.account.reasons == {"restart"}
    assert found.repeats > 0

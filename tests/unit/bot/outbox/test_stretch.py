"""What is cut from a lane is what stands in it, whatever its events are made of."""

import sqlite3
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.outbox import stretch
from bot.outbox.soundness import list_schema
from bot.outbox.stretch import read_stretch

BODY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), st.sampled_from([None, 1, 2]), BODY),
    max_size=12,
)
Events = list[tuple[str, str, int | None, str]]
MAX_BYTES = 60


def write(events: Events) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    schema = resources.files("bot.outbox").joinpath("schema")
    for file in list_schema(schema):
        db.executescript(file.read_text(encoding="utf-8"))
    db.executemany(
        "INSERT INTO event (lane_id, event_id, destination, parameters_id, body, entered_ms) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        [
            (ord(lane), f"E{n}", to, handed, body, n * 10)
            for n, (lane, to, handed, body) in enumerate(events, start=1)
        ],
    )
    return db


@given(EVENTS, st.integers(1, 12))
def test_reads_lane_in_order(events: Events, limit: int) -> None:
    found = read_stretch(write(events), ord("a"), limit=limit)
    numbered = enumerate(events, start=1)
    rows = [(n, to, handed, body) for n, (lane, to, handed, body) in numbered if lane == "a"][:limit]
    assert list(found.seqs) == [n for n, *_ in rows]
    assert list(found.entered_ms) == [n * 10 for n, *_ in rows]
    assert list(found.destinations) == [to for _, to, *_ in rows]
    assert found.event_ids == tuple(f"E{n}" for n, *_ in rows)
    assert list(found.kinds) == [str(handed or 0) for _, _, handed, _ in rows]
    assert [body.decode() for body in found.bodies] == [body for *_, body in rows]


@given(EVENTS)
def test_fit_is_longest_that_may_go(events: Events) -> None:
    """One event more would go to another destination, have other parameters, or be too large."""
    lane = read_stretch(write(events), ord("a"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretch, "BATCH_MAX_BYTES", MAX_BYTES)
        cut = lane.fit()
    count = len(cut.seqs)
    assert cut == type(lane)(*(column[:count] for column in lane))  # type: ignore[arg-type]
    assert len(set(zip(cut.destinations, cut.kinds, strict=True))) <= 1
    assert count <= 1 or sum(len(body) + 1 for body in cut.bodies) <= MAX_BYTES
    if count < len(lane.seqs):
        too_large = sum(len(body) + 1 for body in lane.bodies[: count + 1]) > MAX_BYTES
        assert count >= 1
        differs = (lane.destinations[count], lane.kinds[count]) != (
            lane.destinations[0],
            lane.kinds[0],
        )
        assert too_large or differs

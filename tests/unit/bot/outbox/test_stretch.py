"""What is cut from a lane is what stands in it, whatever its events are made of."""

import sqlite3
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.outbox import stretch
from bot.outbox.stretch import read_stretch

BODY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)
EVENTS = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), BODY), max_size=12)
MAX_BYTES = 60


def write(events: list[tuple[str, str, str]]) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    schema = resources.files("bot.outbox").joinpath("schema")
    db.executescript(schema.joinpath("0001_first.sql").read_text())
    db.executemany(
        "INSERT INTO event (lane_id, event_id, destination, body, entered_ms) VALUES (?, ?, ?, ?, ?)",
        [(ord(lane), f"E{n}", to, body, n * 10) for n, (lane, to, body) in enumerate(events, start=1)],
    )
    return db


@given(EVENTS, st.integers(1, 12))
def test_reads_lane_in_order(events: list[tuple[str, str, str]], limit: int) -> None:
    found = read_stretch(write(events), ord("a"), limit=limit)
    rows = [(n, to, body) for n, (lane, to, body) in enumerate(events, start=1) if lane == "a"][:limit]
    assert list(found.seqs) == [n for n, _, _ in rows]
    assert list(found.entered_ms) == [n * 10 for n, _, _ in rows]
    assert list(found.destinations) == [to for _, to, _ in rows]
    assert found.event_ids == tuple(f"E{n}" for n, _, _ in rows)
    assert [body.decode() for body in found.bodies] == [body for _, _, body in rows]


@given(EVENTS)
def test_fit_is_longest_that_may_go(events: list[tuple[str, str, str]]) -> None:
    """One event more would go to another destination, or be too large."""
    lane = read_stretch(write(events), ord("a"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretch, "BATCH_MAX_BYTES", MAX_BYTES)
        cut = lane.fit()
    count = len(cut.seqs)
    assert cut == type(lane)(*(column[:count] for column in lane))  # type: ignore[arg-type]
    assert len(set(cut.destinations)) <= 1
    assert count <= 1 or sum(len(body) + 1 for body in cut.bodies) <= MAX_BYTES
    if count < len(lane.seqs):
        too_large = sum(len(body) + 1 for body in lane.bodies[: count + 1]) > MAX_BYTES
        assert count >= 1
        assert too_large or lane.destinations[count] != lane.destinations[0]

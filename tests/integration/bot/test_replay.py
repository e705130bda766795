"""Crashes between frames and commits: whatever a RESUME replays is told once, and in order."""

import random
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.gateway.intake import Intake
from bot.outbox.database import open_database
from bot.outbox.session import Position, Session
from bot.outbox.store import Store
from bot.outbox.work import Advanced, Captured, Released, Work
from bot.routing.rules import Rule, Rules
from bot.ulid import UlidFactory
from bot.voice.tracker import Tracker

GUILD = "41771983423143937"
SESSION = Session(0, 1, "1", "s", "ws://127.0.0.1/gateway")
FLOOR = "7"

Frame = tuple[str, dict[str, Any]]


class Process:
    """Intake and store of one process; what is pending is lost in a crash."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.pending = Work()
        self.seq = getattr(store.load_positions().get(0), "seq", 0)
        self.events: list[dict[str, Any]] = []
        tracker = Tracker(store.load_occupancy(), UlidFactory())
        rules = Rules([Rule(categories=frozenset({FLOOR}), destination="floor", continues=True), Rule()])
        self.intake = Intake(tracker, rules, self._put)
        self.connected = True
        self.seen_ms = None
        self.intake.source = self
        self.intake.begin(lambda _: self.seq > 0, ())

    @property
    def position(self) -> Position:
        return Position(SESSION, self.seq)

    def _put(self, item: Captured | Released | Advanced) -> None:
        assert isinstance(item, Captured)
        self.pending.capture(item)

    def receive(self, seq: int, frame: Frame) -> None:
        self.seq = seq
        name, payload = frame
        takes = {
            "GUILD_CREATE": self.intake.guild_created,
            "GUILD_UPDATE": self.intake.guild_updated,
            "CHANNEL_UPDATE": self.intake.channel_changed,
            "VOICE_STATE_UPDATE": self.intake.voice_state,
        }
        takes[name](payload)

    def commit(self, *, advance: bool) -> None:
        if advance:
            self.pending.positions[0] = self.position
        self.store.apply(self.pending, slots=0, now_ms=1)
        self.pending = Work()


def told(store: Store) -> list[dict[str, Any]]:
    """Return what waits for delivery, without what differs from run to run."""
    rows = store._db.execute("SELECT destination, body FROM event ORDER BY seq").fetchall()
    found = []
    for destination, body in rows:
        event = orjson.loads(body)
        del event["id"], event["time"], event["data"]["duration_s"]
        found.append({"destination": destination, **event})
    return found


def snapshot() -> Frame:
    channels = [
        {"id": str(number), "type": 2, "name": f"c{number}", "parent_id": FLOOR} for number in (1, 2, 3)
    ]
    return "GUILD_CREATE", {"id": GUILD, "name": "Base", "afk_channel_id": "3", "channels": channels}


def voice_state(user: str, channel: str | None, *, mute: bool = False) -> Frame:
    member = {"user": {"id": user, "username": f"u{user}"}, "roles": []}
    state = {"guild_id": GUILD, "user_id": user, "channel_id": channel, "self_mute": mute, "member": member}
    return "VOICE_STATE_UPDATE", state


frames = st.one_of(
    st.builds(voice_state, st.sampled_from("45"), st.sampled_from([None, "1", "2", "3"]), mute=st.booleans()),
    st.builds(
        lambda number, name, category: (
            "CHANNEL_UPDATE",
            {"guild_id": GUILD, "id": number, "type": 2, "name": name, "parent_id": category},
        ),
        st.sampled_from("123"),
        st.sampled_from(["x", "y"]),
        st.sampled_from([None, FLOOR]),
    ),
    st.builds(
        lambda name, afk: ("GUILD_UPDATE", {"id": GUILD, "name": name, "afk_channel_id": afk}),
        st.sampled_from(["Base", "Camp"]),
        st.sampled_from([None, "1", "3"]),
    ),
)


def live_through(directory: Path, log: Sequence[Frame], ends: Iterable[tuple[int, int, bool]]) -> Any:
    """Take in *log*, crashing after so many frames as *ends* say; the last process takes in the rest.

    Each end has the number of frames that are taken in, after how many of them the last commit comes, and
    whether that also notes the position of frames that changed nothing.
    """
    for taken, committed, advance in [*ends, (len(log), None, True)]:
        with closing(Store(open_database(directory, synchronous="normal"))) as store:
            process = Process(store)
            for count, seq in enumerate(range(process.seq + 1, len(log) + 1)[:taken], start=1):
                process.receive(seq, log[seq - 1])
                if count == committed:
                    process.commit(advance=advance)
            if committed is None:
                process.commit(advance=advance)
    with closing(Store(open_database(directory, synchronous="normal"))) as store:
        occupancy = store.load_occupancy()[GUILD]
        return told(store), occupancy.occupants.keys(), occupancy.encode_places(), occupancy.watched


@settings(max_examples=60, deadline=None)
@given(
    st.lists(frames, min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.booleans()), min_size=1, max_size=4),
)
def test_replay_tells_each_event_once(log: list[Frame], ends: list[tuple[int, int, bool]]) -> None:
    whole = [snapshot(), *log]
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        assert live_through(Path(other), whole, ends) == live_through(Path(one), whole, [])


@pytest.mark.parametrize("seed", range(5))
def test_there_and_back_is_told_once(tmp_path: Path, seed: int) -> None:
    """The position of frames that changed nothing may lag, that of an event may not: A, B, A is no news."""
    dice = random.Random(seed)
    repeats = [voice_state("4", "1")] * dice.randrange(1, 5)
    log = [snapshot(), voice_state("4", "1"), voice_state("4", "2"), voice_state("4", "1"), *repeats]
    events, *_ = live_through(tmp_path, log, [(len(log), 4, False)])
    assert [event["type"] for event in events if event["destination"] == "default"] == [
        "discord.voice.joined",
        "discord.voice.moved",
        "discord.voice.moved",
    ]

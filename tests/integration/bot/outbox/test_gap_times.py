"""Gaps and durations, through any order of frames, replays, commits, full disks, crashes and restarts.

Of each guild, a gap begins at or after the last event that was told as it happened, and after every other
gap. It may reach back before a replayed event, which happened before it was told.

A duration is from when the person came to the channel, in the same stay in voice, until they left it.
"""

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import orjson
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bot.gateway.intake import Intake
from bot.outbox.database import open_database
from bot.outbox.session import Position, Session
from bot.outbox.store import Store
from bot.outbox.work import Advanced, Captured, Released, Watched, Work
from bot.routing.rules import Rule, Rules
from bot.ulid import UlidFactory
from bot.voice.tracker import Tracker
from tests.support.frames import T0

GUILDS = ("1", "2")
SESSION = Session(0, 1, "1", "s", "ws://127.0.0.1")

guilds, users = st.sampled_from(GUILDS), st.just("71")
places = st.sampled_from([None, "51", "52"])


class GapTimes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.now_ms = T0
        self.truth: dict[str, dict[str, str]] = {guild: {} for guild in GUILDS}
        self.told: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.replayed: set[str] = set()
        self.gone: set[str] = set()
        self.missed: list[tuple[int, str, str, str | None, str]] = []
        self.visits: dict[tuple[str, str], int] = defaultdict(int)
        self.came: dict[tuple[str, str], list[tuple[str, str, int]]] = defaultdict(list)
        self.went: dict[tuple[str, str], list[tuple[str, str, int]]] = defaultdict(list)
        self.seq = 0
        self.open()
        self.begin_session(snapshots=True)
        self.commit()

    # --- the process

    def open(self) -> None:
        self.store = Store(open_database(Path(self.directory.name), synchronous="normal"))
        self.pending = Work()
        self.connected = False
        self.seen_ms: int | None = None
        self.committed_ms = self.safe_ms = self.now_ms
        tracker = Tracker(self.store.load_occupancy(), UlidFactory())
        self.intake = Intake(tracker, Rules([Rule()]), self._put, clock=lambda: self.now_ms)
        self.intake.source = self

    @property
    def position(self) -> Position:
        return Position(SESSION, self.seq)

    def _put(self, item: Captured | Released | Advanced) -> None:
        if isinstance(item, Captured):
            self.pending.capture(item)
            if not self.connected:
                self.replayed.update(event.event_id for event in item.events)
        elif isinstance(item, Advanced):
            self.pending.positions.update(item.positions)

    def teardown(self) -> None:
        self.store.close()
        self.directory.cleanup()

    def begin_session(self, *, snapshots: bool) -> None:
        """READY; the snapshots may come later."""
        self.missed.clear()
        self.intake.session_began(lambda _: True, GUILDS, since_ms=self.seen_ms)
        self.gone = set(GUILDS)
        self.connected, self.seen_ms = True, self.now_ms
        for guild in GUILDS if snapshots else ():
            self.snapshot(guild)

    # --- what happens

    @rule(ms=st.integers(0, 20_000))
    def wait(self, ms: int) -> None:
        self.now_ms += ms
        self.seen_ms = self.now_ms if self.connected else self.seen_ms

    @rule(guild=guilds, user=users, place=places, commits=st.booleans())
    def move(self, guild: str, user: str, place: str | None, commits: bool) -> None:
        before = self.truth[guild].pop(user, None)
        if place is not None:
            self.truth[guild][user] = place
        self.visits[guild, user] += before is None and place is not None
        session_id = self.session_of(guild, user)
        if before is not None and before != place:
            self.went[guild, user].append((session_id, before, self.now_ms))
        if place is not None and before != place:
            self.came[guild, user].append((session_id, place, self.now_ms))
        if guild in self.gone:
            return
        self.missed.append((self.seq + len(self.missed) + 1, guild, user, place, session_id))
        if self.connected:
            self.receive(1)
        if commits:
            self.commit()

    def session_of(self, guild: str, user: str) -> str:
        return f"v{self.visits[guild, user]}"

    def receive(self, count: int) -> None:
        for seq, guild, user, place, session_id in self.missed[:count]:
            self.seq = seq
            self.intake.voice_state(
                {"guild_id": guild, "user_id": user, "channel_id": place, "session_id": session_id}
            )
        del self.missed[:count]
        self.seen_ms = self.now_ms if self.connected else self.seen_ms

    @rule(guild=guilds)
    def snapshot(self, guild: str) -> None:
        if not self.connected:
            return
        states = [
            {"user_id": user, "channel_id": place, "session_id": self.session_of(guild, user)}
            for user, place in self.truth[guild].items()
        ]
        self.intake.guild_created({"id": guild, "voice_states": states})
        self.gone.discard(guild)
        self.seen_ms = self.now_ms

    @rule(guild=guilds)
    def lose_guild(self, guild: str) -> None:
        if self.connected:
            self.intake.guild_deleted({"id": guild, "unavailable": True})
            self.gone.add(guild)

    @rule()
    def disconnect(self) -> None:
        self.connected = False

    @precondition(lambda self: not self.connected)
    @rule(part=st.integers(0, 3), whole=st.booleans())
    def resume(self, part: int, whole: bool) -> None:
        """Replay what was missed; the connection may break in the middle of it."""
        self.receive(len(self.missed) if whole else part)
        if whole:
            self.connected, self.seen_ms = True, self.now_ms

    @rule(moves=st.lists(st.tuples(guilds, users, places), min_size=1, max_size=3), ms=st.integers(1, 9000))
    def break_off(self, moves: list[tuple[str, str, str | None]], ms: int) -> None:
        """A short break of the connection, in which people move."""
        self.disconnect()
        for guild, user, place in moves:
            self.wait(ms)
            self.move(guild, user, place, commits=False)
        self.wait(ms)
        self.resume(0, whole=True)
        self.wait(ms)

    @rule(snapshots=st.booleans())
    def lose_session(self, snapshots: bool) -> None:
        self.begin_session(snapshots=snapshots)

    # --- the disk

    @rule()
    def tick(self) -> None:
        if self.seen_ms is not None:
            self.pending.tick(Watched(1, {0: self.seen_ms}))

    @rule()
    def commit(self) -> None:
        events = [orjson.loads(event.body) for event in self.pending.events]
        self.store.apply(self.pending, slots=0, now_ms=self.now_ms)
        self.pending = Work()
        self.safe_ms, self.committed_ms = self.committed_ms, self.now_ms
        for event in events:
            self.told[event["data"]["guild"]["id"]].append(event)

    @rule(for_ms=st.integers(0, 20_000))
    def fill_disk(self, for_ms: int) -> None:
        """Let go of what was not committed, and make up for it when there is room."""
        lost = dict.fromkeys(self.pending.drop_captured(), self.safe_ms)
        self.pending.losses = lost
        self.commit()
        self.wait(for_ms)
        on_disk = self.store.load_occupancy()
        for captured in self.intake.resync({guild: on_disk.get(guild) for guild in lost}):
            self.pending.capture(captured)
        self.commit()

    @rule(
        orderly=st.booleans(), resumes=st.booleans(), snapshots=st.booleans(), down_ms=st.integers(0, 20_000)
    )
    def restart(self, orderly: bool, resumes: bool, snapshots: bool, down_ms: int) -> None:
        if orderly:
            self.tick()
            self.commit()
        self.store.close()
        self.connected = False
        self.wait(down_ms)
        missed, self.missed = self.missed, []
        self.open()
        position = self.store.load_positions().get(0)
        # What was taken and not committed is replayed as well; here it is simply missed.
        if resumes and orderly and position is not None:
            self.missed = missed
            self.intake.begin(lambda _: True, ())
        else:
            self.intake.begin(lambda _: False, ())
            self.begin_session(snapshots=snapshots)

    # --- what must hold

    @invariant()
    def gaps_begin_after_what_was_told(self) -> None:
        for told in self.told.values():
            last = ""
            for event in told:
                if event["type"] == "discord.voice.gap":
                    since, until = event["data"]["from"], event["data"]["until"]
                    assert last <= (since or ""), f"a gap since {since} after an event at {last}"
                    assert (since or "") <= until == event["time"]
                if event["id"] not in self.replayed:
                    last = event["time"]

    @invariant()
    def durations_are_those_of_stays(self) -> None:
        for told in self.told.values():
            for event in told:
                duration_s = event["data"].get("duration_s")
                if duration_s is not None:
                    assert round(duration_s * 1000) in self.lengths_of(event), f"no stay of {duration_s} s"
                    assert event["id"] not in self.replayed
                    assert not event["data"]["inferred"]

    def lengths_of(self, event: dict[str, Any]) -> set[int]:
        """Return how long the person may have been in the channel that they left, in milliseconds."""
        who = event["data"]["guild"]["id"], event["data"]["user"]["id"]
        place = event["data"]["previous_channel"]["id"]
        return {
            went_ms - came_ms
            for session_id, left, went_ms in self.went[who]
            for stay, reached, came_ms in self.came[who]
            if left == reached == place and session_id == stay
        }


GapTimes.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_gap_times = GapTimes.TestCase

"""Capture and store against a simple model, through any order of frames, crashes, deliveries and refusals.

The model knows who really is where, and what the API took. The relay's parts are the real ones, on a real
file; what stands between them is so little code that the machine does it by hand: commits happen when it says
so, and a crash drops what was not committed.
"""

import dataclasses
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import orjson
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bot.gateway.intake import Intake
from bot.outbox.batch import Acceptance, Accepted, Batch, Deferred, Delivered, Forgotten, Refused, Report
from bot.outbox.database import open_database
from bot.outbox.inspection import open_inspection
from bot.outbox.store import Limits, Store
from bot.outbox.work import Advanced, Captured, Released, Watched, Work
from bot.routing.rules import Rule, Rules
from bot.ulid import UlidFactory
from bot.voice.events import EVENT, Event
from bot.voice.tracker import Tracker

GUILDS = ("1", "2")
USERS = ("71", "72", "73")
CHANNELS = ("51", "52")
SLOTS = 2
PARAMETERS = '{"for":"the first"}'
"""What a rule hands over with the events of the first person."""

Place = tuple[str, bool]
"""A channel, and whether the person is muted there."""

guilds, users = st.sampled_from(GUILDS), st.sampled_from(USERS)
places = st.none() | st.tuples(st.sampled_from(CHANNELS), st.booleans())


def voice_state(guild: str, user: str, place: Place | None) -> dict[str, Any]:
    channel, muted = place or (None, False)
    return {
        "guild_id": guild,
        "user_id": user,
        "channel_id": channel,
        "self_mute": muted,
        "member": {"user": {"id": user, "username": f"user{user}"}},
    }


class OutboxMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.truth: dict[str, dict[str, Place]] = {guild: {} for guild in GUILDS}
        self.watched: set[str] = set()
        self.committed: dict[str, list[str]] = defaultdict(list)
        self.events: dict[str, Event] = {}
        self.settled: dict[str, list[str]] = defaultdict(list)
        self.taken: dict[str, Batch] = {}
        self.dead: list[str] = []
        self.in_flight: dict[str, Batch] = {}
        self.followed: set[str] = set()
        self.parked: set[str] = set()
        self.bodies: dict[str, Batch] = {}
        self.pending: list[Captured] = []
        self.now_ms = 1_763_708_400_000
        self.open()

    def open(self) -> None:
        database = open_database(Path(self.directory.name), synchronous="normal")
        self.store = Store(database, Limits(batch_events=3))
        self.tracker = Tracker(self.store.load_occupancy(), UlidFactory())
        self.tracker.begin(lambda _: False, None, 0)
        self.intake = Intake(
            self.tracker,
            Rules([Rule(users=frozenset(USERS[:1]), parameters=PARAMETERS), Rule()]),
            self._put,
            clock=self.tick,
        )

    def _put(self, item: Captured | Released | Advanced) -> None:
        assert isinstance(item, Captured)
        self.pending.append(item)

    def tick(self) -> int:
        self.now_ms += 1
        return self.now_ms

    def teardown(self) -> None:
        try:
            for guild in GUILDS:
                self.release(guild)
            # What was deferred has rested by then.
            self.now_ms += 1000
            self.commit(SLOTS)
            while self.in_flight:
                self.deliver(0)
            assert self.settled == self.committed
            assert self.store.waiting == 0
            assert self.store.count_dead_letters() == len(self.dead)
            self.crash()
            assert self.told_places() == self.places_of(self.tracker)
        finally:
            self.store.close()
            self.directory.cleanup()

    @initialize()
    def learn_the_guilds(self) -> None:
        for guild in GUILDS:
            self.snapshot(guild)
        self.commit(SLOTS)

    # --- what Discord does

    @rule(guild=guilds, user=users, place=places)
    def change(self, guild: str, user: str, place: Place | None) -> None:
        """Somebody goes somewhere; a frame tells of it where the guild is watched."""
        if place is None:
            self.truth[guild].pop(user, None)
        else:
            self.truth[guild][user] = place
        if guild in self.watched:
            self.intake.voice_state(voice_state(guild, user, place))

    @precondition(lambda self: self.watched)
    @rule()
    def lose_the_session(self) -> None:
        self.watched.clear()
        self.intake.session_began(lambda _: True, GUILDS, since_ms=self.now_ms)

    @rule(guild=guilds)
    def snapshot(self, guild: str) -> None:
        states = [voice_state(guild, user, place) for user, place in self.truth[guild].items()]
        self.intake.guild_created({"id": guild, "name": f"Guild {guild}", "voice_states": states})
        self.watched.add(guild)

    # --- what the outbox does

    @rule(slots=st.integers(0, SLOTS))
    def commit(self, slots: int) -> None:
        self.apply([], slots)

    def apply(self, reports: list[Report], slots: int) -> None:
        observations = [seen.observation for seen in self.pending]
        events = [event for seen in self.pending for event in seen.events]
        work = Work(observations, events, list(reports), watched=Watched(1, {0: self.now_ms}))
        batches = self.store.apply(work, slots=min(slots, SLOTS - len(self.in_flight)), now_ms=self.tick())
        for event in (EVENT.validate_json(outgoing.body) for outgoing in events):
            assert event["id"] not in self.events
            self.events[event["id"]] = event
            self.committed[event["data"]["guild"]["id"]].append(event["id"])
        self.pending.clear()
        for batch in batches:
            assert all(batch.lane != other.lane for other in self.in_flight.values())
            assert batch.lane.guild_id not in self.parked or batch.execution in self.bodies
            assert batch.execution not in self.taken or batch == self.bodies.get(batch.execution)
            self.in_flight[batch.execution] = batch
            told = orjson.loads(batch.body)
            assert told["id"] == batch.execution
            assert told["events"] == [self.events[event_id] for event_id in batch.event_ids]
            assert all(told["parameters"] == self.parameters_of(event) for event in told["events"])

    def parameters_of(self, event: Event) -> dict[str, str]:
        first = event["type"] != "discord.voice.gap" and event["data"]["user"]["id"] == USERS[0]
        return orjson.loads(PARAMETERS) if first else {}

    @rule()
    def crash(self) -> None:
        """The process dies, and another begins with what is on disk."""
        self.pending.clear()
        self.watched.clear()
        self.store.close()
        self.open()
        again = {batch.execution: batch for batch in self.store.open_batches()}
        assert again == self.in_flight

    @rule(guild=guilds)
    def park(self, guild: str) -> None:
        """An operator parks the guild's lane, if it has one, and the relay takes that up."""
        with open_inspection(Path(self.directory.name), mode="rw") as inspection:
            marks = inspection.lane_marks
            if marks.park(marks.find("notify", guild)):
                self.parked.add(guild)
        self.housekeep()

    @rule(guild=guilds)
    def release(self, guild: str) -> None:
        with open_inspection(Path(self.directory.name), mode="rw") as inspection:
            marks = inspection.lane_marks
            assert marks.release(marks.find("notify", guild)) == (guild in self.parked)
        self.housekeep()
        self.parked.discard(guild)

    def housekeep(self) -> None:
        assert self.store.apply(Work(housekeeping=True), slots=0, now_ms=self.tick()) == []

    # --- what the API does

    @precondition(lambda self: self.in_flight.keys() - self.followed)
    @rule(number=st.integers(0, SLOTS - 1))
    def accept(self, number: int) -> None:
        """The API takes the batch, whose end is awaited."""
        open_ones = sorted(self.in_flight.keys() - self.followed)
        batch = self.in_flight[open_ones[number % len(open_ones)]]
        self.followed.add(batch.execution)
        accepted = dataclasses.replace(batch, body=b"", accepted=Acceptance("arn", 1, self.now_ms))
        self.in_flight[batch.execution] = accepted
        self.bodies[batch.execution] = batch
        self.apply([Accepted(accepted)], SLOTS)

    @precondition(lambda self: self.followed)
    @rule(number=st.integers(0, SLOTS - 1))
    def forget(self, number: int) -> None:
        """The API loses what it accepted: the batch is handed out again, with the same bytes."""
        batch = self.in_flight.pop(self.pick_followed(number))
        self.apply([Forgotten(batch)], 0)
        assert self.in_flight[batch.execution] == self.bodies[batch.execution]

    @precondition(lambda self: self.followed - self.taken.keys())
    @rule(number=st.integers(0, SLOTS - 1))
    def defer(self, number: int) -> None:
        """The execution fails without any effect: its events go again, first in line."""
        open_ones = sorted(self.followed - self.taken.keys())
        name = open_ones[number % len(open_ones)]
        self.followed.discard(name)
        self.apply([Deferred(self.in_flight.pop(name), rest_s=0.005)], SLOTS)

    def pick_followed(self, number: int) -> str:
        name = sorted(self.followed)[number % len(self.followed)]
        self.followed.discard(name)
        return name

    @precondition(lambda self: self.in_flight)
    @rule(number=st.integers(0, SLOTS - 1))
    def deliver(self, number: int) -> None:
        batch = self.pick(number)
        self.take(batch)
        del self.in_flight[batch.execution]
        self.followed.discard(batch.execution)
        self.apply([Delivered(batch, "arn", 1)], SLOTS)

    @precondition(lambda self: self.in_flight)
    @rule(number=st.integers(0, SLOTS - 1))
    def lose_the_answer(self, number: int) -> None:
        """The API takes the batch and the relay never hears of it: it will be sent again."""
        self.take(self.pick(number))

    @precondition(lambda self: self.in_flight.keys() - self.taken.keys())
    @rule(number=st.integers(0, SLOTS - 1))
    def refuse(self, number: int) -> None:
        open_ones = sorted(self.in_flight.keys() - self.taken.keys())
        batch = self.in_flight.pop(open_ones[number % len(open_ones)])
        self.followed.discard(batch.execution)
        if len(batch.event_ids) == 1:
            self.settled[batch.lane.guild_id] += batch.event_ids
            self.dead += batch.event_ids
        self.apply([Refused(batch, "never", split=len(batch.event_ids) > 1)], SLOTS)

    def pick(self, number: int) -> Batch:
        return self.in_flight[sorted(self.in_flight)[number % len(self.in_flight)]]

    def take(self, batch: Batch) -> None:
        batch = self.bodies.get(batch.execution, batch)
        if batch.execution not in self.taken:
            self.taken[batch.execution] = batch
            self.settled[batch.lane.guild_id] += batch.event_ids
        assert self.taken[batch.execution] == batch

    # --- what must always hold

    @invariant()
    def every_event_is_taken_or_buried_once_in_order(self) -> None:
        for guild, event_ids in self.settled.items():
            assert event_ids == self.committed[guild][: len(event_ids)]

    @invariant()
    def who_is_watched_is_known(self) -> None:
        known = self.places_of(self.tracker)
        for guild in self.watched:
            assert known[guild] == self.truth[guild]

    @invariant()
    def what_waits_is_counted(self) -> None:
        settled = sum(map(len, self.settled.values()))
        taken_early = sum(
            len(batch.event_ids) for name, batch in self.in_flight.items() if name in self.taken
        )
        assert self.store.waiting == sum(map(len, self.committed.values())) - settled + taken_early

    def places_of(self, tracker: Tracker) -> dict[str, dict[str, Place]]:
        known: dict[str, dict[str, Place]] = {guild: {} for guild in GUILDS}
        for guild in tracker.guild_ids:
            for user, occupant in tracker._guilds[guild].occupants.items():
                known[guild][user] = (occupant.channel_id, bool(occupant.flags & 1))
        return known

    def told_places(self) -> dict[str, dict[str, Place]]:
        """Return where people are by the events alone, each of which must go on from the one before.

        What is inferred follows a gap, at once or after others of its kind.
        """
        told: dict[str, dict[str, Place]] = {guild: {} for guild in GUILDS}
        for guild, event_ids in self.committed.items():
            people = told[guild]
            in_gap = False
            for event in map(self.events.__getitem__, event_ids):
                if event["type"] == "discord.voice.gap":
                    in_gap = True
                    continue
                data = event["data"]
                assert in_gap or not data["inferred"]
                in_gap = data["inferred"]
                user, was = data["user"]["id"], people.pop(data["user"]["id"], None)
                before = data["previous_channel"] or (
                    data["channel"] if event["type"].endswith("updated") else None
                )
                assert (was and was[0]) == (before and before["id"])
                if data["channel"] is not None:
                    people[user] = (data["channel"]["id"], data["state"]["self_mute"])
        return told


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

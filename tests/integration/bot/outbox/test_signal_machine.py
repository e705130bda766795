"""Starts and signals against a simple model, through any order of commits, crashes, answers and refusals.

The model is a list for each guild, of what people did in order. It says which start a signal has to reach:
the last one of that person before it, unless that was refused.
"""

import tempfile
from collections import defaultdict
from pathlib import Path

import hypothesis.strategies as st
import orjson
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bot.outbox.batch import Batch, Deferred, Delivered, Refused, Report
from bot.outbox.database import open_database
from bot.outbox.inspection import open_inspection
from bot.outbox.store import Limits, Store
from bot.outbox.work import OutgoingEvent, Work
from bot.routing.lane import Lane

GUILDS, USERS = ("1", "2"), ("71", "72")
SLOTS = 2

guilds, users, numbers = st.sampled_from(GUILDS), st.sampled_from(USERS), st.integers(0, SLOTS - 1)


class SignalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.now_ms = 1_763_708_400_000
        self.users: dict[str, str] = {}
        self.waiting: dict[str, list[tuple[str, str, bool]]] = defaultdict(list)
        self.started: dict[tuple[str, str], tuple[str, str]] = {}
        self.begun: dict[str, Batch] = {}
        self.open()

    def open(self) -> None:
        self.store = Store(
            open_database(Path(self.directory.name), synchronous="normal"), Limits(batch_events=3)
        )

    def teardown(self) -> None:
        try:
            self.now_ms += 1000
            self.apply()
            while self.begun:
                self.deliver(0)
            assert not any(self.waiting.values())
            assert self.store.waiting == 0
        finally:
            self.store.close()
            self.directory.cleanup()

    def apply(self, *reports: Report, event: OutgoingEvent | None = None, housekeeping: bool = False) -> None:
        self.now_ms += 1
        work = Work(events=[event] if event else [], reports=list(reports), housekeeping=housekeeping)
        for batch in self.store.apply(
            work, slots=SLOTS, taken={"admit": len(self.begun)}, now_ms=self.now_ms
        ):
            self.check_begun(batch)
            self.begun[batch.execution] = batch

    def check_begun(self, batch: Batch) -> None:
        guild = batch.lane.guild_id
        event_id, user, is_signal = self.waiting[guild][0]
        assert batch.event_ids == (event_id,)
        assert batch.key == f"user-{user}"
        if is_signal:
            assert batch.signal is not None
            execution, started_by = self.started.get((guild, user), (None, ""))
            # A redriven signal may be older than what waits now.
            assert batch.signal.execution == (execution if started_by < event_id else None)
            assert orjson.loads(batch.body) == {"event": event_id}
        else:
            assert batch.signal is None
            assert orjson.loads(batch.body)["events"] == [event_id]
            self.started[guild, user] = (batch.execution, event_id)

    @rule(guild=guilds, user=users, is_signal=st.booleans())
    def happen(self, guild: str, user: str, is_signal: bool) -> None:
        """Somebody comes, which starts an execution, or goes, which signals it."""
        event_id = f"e{len(self.users):03}"
        self.users[event_id] = user
        self.waiting[guild].append((event_id, user, is_signal))
        signal = "withdraw" if is_signal else None
        event = OutgoingEvent(
            Lane("admit", guild), "default", event_id, f'"{event_id}"', key=f"user-{user}", signal=signal
        )
        self.apply(event=event)

    @rule()
    def crash(self) -> None:
        """The process dies, and another one sends what was begun as it was."""
        self.store.close()
        self.open()
        assert {batch.execution: batch for batch in self.store.open_batches()} == self.begun

    @precondition(lambda self: self.begun)
    @rule(number=numbers)
    def deliver(self, number: int) -> None:
        batch = self.settle(number)
        self.apply(Delivered(batch, "arn", 1, None if batch.signal is None else "signalled"))

    @precondition(lambda self: any(batch.signal for batch in self.begun.values()))
    @rule(number=numbers)
    def find_ended(self, number: int) -> None:
        """The execution does not wait any more: it is forgotten."""
        names = sorted(name for name, batch in self.begun.items() if batch.signal)
        batch = self.begun.pop(names[number % len(names)])
        _, user, _ = self.waiting[batch.lane.guild_id].pop(0)
        assert batch.signal is not None
        if batch.signal.execution is not None:
            self.started.pop((batch.lane.guild_id, user), None)
        self.apply(Delivered(batch, "", 1, "not waiting", ended=True))

    @precondition(lambda self: self.begun)
    @rule(number=numbers)
    def refuse(self, number: int) -> None:
        """A start that never was is not signalled; a signal that is refused changes nothing."""
        batch = self.settle(number)
        if batch.signal is None:
            assert batch.key is not None
            self.started.pop((batch.lane.guild_id, batch.key.removeprefix("user-")))
        self.apply(Refused(batch, "no"))

    @precondition(lambda self: any(batch.signal is None for batch in self.begun.values()))
    @rule(number=numbers)
    def defer(self, number: int) -> None:
        """The start goes again under another name, first in line."""
        names = sorted(name for name, batch in self.begun.items() if batch.signal is None)
        self.apply(Deferred(self.begun.pop(names[number % len(names)]), rest_s=0.003))

    @rule()
    def redrive(self) -> None:
        """Dead letters go to the ends of their lanes, as what they were."""
        with open_inspection(Path(self.directory.name), mode="rw") as inspection:
            letters, _ = inspection.list_letters(limit=100)
            inspection.mark_for_redrive([letter.letter_id for letter in letters])
        for letter in letters:
            user = self.users[letter.event_id]
            self.waiting[letter.lane.guild_id].append((letter.event_id, user, letter.signal is not None))
        self.apply(housekeeping=True)

    def settle(self, number: int) -> Batch:
        """Take a batch in flight whose event leaves its lane."""
        batch = self.begun.pop(sorted(self.begun)[number % len(self.begun)])
        self.waiting[batch.lane.guild_id].pop(0)
        return batch

    @invariant()
    def what_waits_is_counted(self) -> None:
        assert self.store.waiting == sum(map(len, self.waiting.values()))


TestSignalMachine = SignalMachine.TestCase
TestSignalMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

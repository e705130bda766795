"""What a rule hands to its workflow reaches the execution's input, whatever happens on the way."""

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

import orjson
import pytest

from bot.outbox.batch import Delivered, Refused
from bot.outbox.database import FILE_NAME, open_database
from bot.outbox.inspection import open_inspection
from bot.outbox.store import Limits, Store
from bot.outbox.work import OutgoingEvent, Work
from bot.routing.debounce import Held, HeldKey
from bot.routing.rules import Route
from tests.support.stores import NOW, A, count_rows, names, open_store, outgoing
from workflow.registry import max_events

ROOM = '{"target_channel":"5","wait_s":600}'
OTHER = '{"target_channel":"6"}'


def handed(name: str, parameters: str = ROOM) -> OutgoingEvent:
    return outgoing(name)._replace(parameters=parameters)


def test_input_has_parameters(store: Store) -> None:
    (batch,) = store.apply(Work(events=[handed("a")]), slots=1, now_ms=NOW)
    assert batch.body == (
        f'{{"id":"{batch.execution}","destination":"default","parameters":{ROOM},'
        f'"events":["a{"x" * 10}"]}}'.encode()
    )


def test_cuts_batch_at_parameters(store: Store) -> None:
    events = [handed("a"), handed("b"), handed("c", OTHER), outgoing("d"), handed("e")]
    (batch,) = store.apply(Work(events=events), slots=1, now_ms=NOW)
    found = [batch]
    while begun := store.apply(Work(reports=[Delivered(found[-1], "arn", 1)]), slots=1, now_ms=NOW):
        found += begun
    assert names(found) == ["a b", "c", "d", "e"]
    told = [orjson.loads(batch.body)["parameters"] for batch in found]
    assert told == [orjson.loads(ROOM), orjson.loads(OTHER), {}, orjson.loads(ROOM)]


def test_restart_resends_same_parameters(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3)
    (before,) = store.apply(Work(events=[handed("a"), handed("b", OTHER)]), slots=1, now_ms=NOW)
    store.close()
    store = open_store(tmp_path, 3)
    assert store.open_batches() == [before]
    (after,) = store.apply(Work(reports=[Delivered(before, "arn", 1)]), slots=1, now_ms=NOW)
    assert orjson.loads(after.body)["parameters"] == orjson.loads(OTHER)
    store.close()


@pytest.mark.parametrize("expires", [False, True])
def test_dead_letter_keeps_parameters(tmp_path: Path, *, expires: bool) -> None:
    """A redrive, by a later process, sends them again."""
    store = open_store(tmp_path, 3, event_age_ms=1000)
    if expires:
        store.apply(Work(events=[handed("a")]), slots=0, now_ms=NOW)
        store.apply(Work(housekeeping=True), slots=0, now_ms=NOW + 5000)
    else:
        (batch,) = store.apply(Work(events=[handed("a")]), slots=1, now_ms=NOW)
        store.apply(Work(reports=[Refused(batch, "no")]), slots=0, now_ms=NOW)
    store.close()
    store = open_store(tmp_path, 3, event_age_ms=1000)
    with open_inspection(tmp_path, mode="rw") as inspection:
        assert inspection.mark_for_redrive(inspection.choose_all().letter_ids) == 1
    (again,) = store.apply(Work(housekeeping=True), slots=1, now_ms=NOW + 6000)
    assert orjson.loads(again.body)["parameters"] == orjson.loads(ROOM)
    store.close()


def test_refused_batch_keeps_parameters(store: Store) -> None:
    (batch,) = store.apply(Work(events=[handed("a"), handed("b")]), slots=1, now_ms=NOW)
    (half,) = store.apply(Work(reports=[Refused(batch, "no", split=True)]), slots=1, now_ms=NOW)
    assert names([half]) == ["a"]
    assert orjson.loads(half.body)["parameters"] == orjson.loads(ROOM)


def test_held_event_keeps_parameters(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3)
    data = {"guild": {"id": "9"}, "user": {"id": "7"}, "channel": None, "changes": {}, "state": {}}
    event = {"id": "1", "type": "discord.voice.joined", "data": {**data, "inferred": False}}
    routes = (Route("admit", "default", parameters=ROOM, batch_max_events=1), Route("notify", "mods"))
    held = Held(None, None, None, event, routes, NOW)  # type: ignore[arg-type]  # no more is read here
    store.apply(Work(held={HeldKey("9", "7", 5000): held}), slots=0, now_ms=NOW)
    store.close()
    store = open_store(tmp_path, 3)
    (found,) = store.load_held().values()
    store.close()
    assert found.routes == routes


def test_events_share_a_row_of_parameters(tmp_path: Path) -> None:
    store = open_store(tmp_path, 3)
    for name in "abc":
        store.apply(Work(events=[handed(name), outgoing(name * 2)]), slots=0, now_ms=NOW)
    store.close()
    assert count_rows(tmp_path, "parameters") == 1


def test_start_drops_unused_parameters(tmp_path: Path) -> None:
    """Those of waiting events and of dead letters stay."""
    store = open_store(tmp_path, 1)
    (dead,) = store.apply(Work(events=[handed("a")]), slots=1, now_ms=NOW)
    (gone,) = store.apply(
        Work(events=[handed("b", OTHER)], reports=[Refused(dead, "no")]), slots=1, now_ms=NOW
    )
    more = [handed("c", '{"waits":1}')]
    store.apply(Work(events=more, reports=[Delivered(gone, "arn", 1)]), slots=0, now_ms=NOW)
    store.close()
    open_store(tmp_path, 1).close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
        kept = {body for (body,) in db.execute("SELECT body FROM parameters")}
    assert kept == {ROOM, '{"waits":1}'}


def test_begun_batch_keeps_older_bytes(tmp_path: Path) -> None:
    """What an older relay sent without parameters goes again as it was; what is begun now has them."""
    older = tmp_path / "schema"
    older.mkdir()
    for file in resources.files("bot.outbox").joinpath("schema").iterdir():
        if file.name < "0009":
            (older / file.name).write_text(file.read_text())
    database = open_database(tmp_path, schema=older)
    db = database.connection
    db.execute("INSERT INTO lane (lane_id, workflow, guild_id) VALUES (1, 'notify', '1')")
    for seq, name in enumerate("ab", start=1):
        db.execute("INSERT INTO event VALUES (?, 1, ?, 'default', ?, ?)", (seq, name, f'"{name}"', NOW))
    db.execute(
        "INSERT INTO batch (lane_id, execution, first_seq, last_seq, created_ms) VALUES (1, '1-A', 1, 1, ?)",
        (NOW,),
    )
    database.close()
    store = Store(open_database(tmp_path), Limits())
    (begun,) = store.open_batches()
    assert begun.body == b'{"id":"1-A","destination":"default","events":["a"]}'
    (after,) = store.apply(Work(reports=[Delivered(begun, "arn", 1)]), slots=1, now_ms=NOW)
    assert b'"parameters":{}' in after.body
    store.close()


def test_largest_parameters_fit_an_input(store: Store) -> None:
    """Step Functions takes 262,144 bytes."""
    wide = '{"text":"' + "x" * 4085 + '"}'
    events = [
        OutgoingEvent(A, "default", str(n), f'"{"y" * 900}"', parameters=wide)
        for n in range(max_events("audit"))
    ]
    (batch,) = store.apply(Work(events=events), slots=1, now_ms=NOW)
    assert len(batch.body) < 262_144

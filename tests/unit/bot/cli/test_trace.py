"""``voice-relay trace``, as it is typed."""

import json
import re

import pytest

from bot.clock import system_clock
from bot.outbox.batch import Delivered
from bot.outbox.work import Work
from bot.routing.debounce import Held, HeldKey
from bot.routing.lane import Lane
from bot.routing.rules import Route
from bot.text import render_time
from tests.support.outboxes import HERE, THERE, OutboxFile
from tests.unit.bot.cli.shell import Shell

ASKED = Lane("ask", "41771983423143937")


def test_traces_event_to_its_execution(shell: Shell, outbox: OutboxFile) -> None:
    outbox.now_ms = system_clock() - 2 * 3_600_000 - 1000
    first, *_, last = outbox.put(*(outbox.event() for _ in range(4)))
    assert shell.run(f"trace {last}") == 0
    assert "waiting" in shell.out
    assert "4 of 4 in its lane" in shell.out

    (batch,) = outbox.begin()
    outbox.fail(batch, 2, "the API answered 503")
    assert shell.run(f"trace {last}") == 0
    assert re.search(rf"batch before +{batch.execution}, 3 events, begun .*, 2 hours ago", shell.out)
    assert shell.run(f"trace {first}") == 0
    assert "in flight" in shell.out
    assert "2 failed; last error: the API answered 503 (2 hours ago)" in shell.out
    assert f"received  {render_time(outbox.now_ms)}, 2 hours ago" in shell.out
    (place,) = shell.json(f"trace {first}")["places"]
    assert (place["state"], place["position"], place["lane_length"]) == ("in_flight", 1, 4)
    assert place["batch"]["last_error"] == "the API answered 503"

    outbox.deliver(batch, "arn:aws:states:us-east-1:123456789012:execution:notify:x")
    assert shell.run(f"trace {first}") == 0
    assert "delivered" in shell.out
    assert "arn:aws:states:us-east-1:123456789012:execution:notify:x" in shell.out
    (place,) = shell.json(f"trace {first}")["places"]
    assert (place["state"], place["attempts"]) == ("delivered", 1)
    assert place["execution_arn"].startswith("arn:aws:states:")


def test_traces_held_and_dead_events(shell: Shell, outbox: OutboxFile) -> None:
    event = outbox.event()
    outbox.bury([event], "the API answered 400")
    key = HeldKey(THERE.guild_id, "80351110224678912", 60_000)
    routes = (Route(THERE.workflow, "default"),)
    held: dict[HeldKey, Held | None] = {
        key: Held(None, None, None, json.loads(event.body), routes, system_clock() + 60_500)
    }
    outbox.store.apply(Work(held=held), slots=0, now_ms=outbox.now_ms)
    assert shell.run(f"trace {event.event_id}") == 0
    assert f"workflow notify, guild {HERE.guild_id}: dead letter 1" in shell.out
    assert f"workflow notify, guild {THERE.guild_id}: held by debounce" in shell.out
    assert "in 1 minute" in shell.out
    assert "the API answered 400" in shell.out
    states = [place["state"] for place in shell.json(f"trace {event.event_id}")["places"]]
    assert states == ["debouncing", "dead"]


def test_traces_signal_to_its_outcome(shell: Shell, outbox: OutboxFile) -> None:
    about = outbox.event(ASKED)._replace(key="user-7", parameters='{"room":"5"}')
    gone = outbox.event(ASKED)._replace(key="user-7", signal="withdraw")
    outbox.put(about, gone)
    (start,) = outbox.begin()
    assert shell.run(f"trace {about.event_id}") == 0
    assert re.search(r'parameters +{"room":"5"}', shell.out)
    outbox.deliver(start)
    assert shell.run(f"trace {gone.event_id}") == 0
    assert re.search(r"waiting\n(.*\n)*  signal +withdraw\n", shell.out)

    (signal,) = outbox.begin()
    assert shell.run(f"trace {gone.event_id}") == 0
    assert re.search(rf"goes to +withdraw, to the execution {start.execution}\n", shell.out)
    (place,) = shell.json(f"trace {gone.event_id}")["places"]
    assert (place["batch"]["signal"], place["batch"]["signalled_execution"]) == ("withdraw", start.execution)

    outbox.report(Delivered(signal, "", 1, "already decided: admit by the user 80"))
    assert shell.run(f"trace {gone.event_id}") == 0
    assert re.search(rf"signal +withdraw, to the execution {start.execution}\n", shell.out)
    assert re.search(r"outcome +already decided: admit by the user 80\n", shell.out)
    (place,) = shell.json(f"trace {gone.event_id}")["places"]
    assert (place["state"], place["signal"], place["signalled_execution"], place["outcome"]) == (
        "delivered",
        "withdraw",
        start.execution,
        "already decided: admit by the user 80",
    )


def test_traces_signal_without_start(shell: Shell, outbox: OutboxFile) -> None:
    gone = outbox.event(ASKED)._replace(key="user-7", signal="withdraw")
    outbox.put(gone)
    (signal,) = outbox.begin()
    outbox.report(Delivered(signal, "", 1, "not sent: no execution was started for it"))
    assert shell.run(f"trace {gone.event_id}") == 0
    assert re.search(r"signal +withdraw, to none: none was started for it\n", shell.out)


def test_shows_dead_signal(shell: Shell, outbox: OutboxFile) -> None:
    (dead,) = outbox.bury([outbox.event(ASKED)._replace(key="user-7", signal="withdraw")], "never")
    assert shell.run(f"outbox show {dead}") == 0
    assert re.search(r"signal +withdraw\n", shell.out)
    (letter,) = shell.json(f"outbox show {dead}")["dead_letters"]
    assert (letter["signal"], letter["parameters"]) == ("withdraw", {})


@pytest.mark.parametrize("event_id", ["01KAHDBAC0ABCDEFGHJKMNPQRS", "nonsense"])
def test_trace_of_unknown_event(shell: Shell, outbox: OutboxFile, event_id: str) -> None:
    assert shell.run(f"trace {event_id}") == 1
    assert f"{event_id} is unknown: it was never captured here" in shell.err
    assert "RECEIPTS_KEPT_S" in shell.err
    assert shell.json(f"trace {event_id}", exit_code=1)["places"] == []

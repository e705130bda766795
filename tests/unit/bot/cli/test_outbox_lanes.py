"""``voice-relay outbox park``, ``release`` and ``drop-lane``, as they are typed."""

import io

import pytest

from tests.support.outboxes import HERE, THERE, OutboxFile
from tests.unit.bot.cli.shell import Shell


def test_parks_and_releases(shell: Shell, outbox: OutboxFile) -> None:
    outbox.put(outbox.event(), outbox.event(), outbox.event(THERE))
    assert shell.run(f"outbox park notify --guild {HERE.guild_id}") == 0
    assert f"parked 1 lane of workflow notify, guild {HERE.guild_id}; 2 events waiting\n" in shell.out
    assert shell.json("outbox park notify") == {"parked": 1, "parked_before": 1, "waiting": 3}
    outbox.housekeep()
    assert outbox.begin() == []
    assert shell.run("outbox release notify") == 0
    assert "released 2 lanes of workflow notify; 3 events waiting\n" in shell.out
    assert shell.json("outbox release notify") == {"released": 0, "not_parked": 2, "waiting": 3}
    assert shell.run("outbox release notify") == 0
    assert shell.out == "nothing changed: 2 lanes of workflow notify were not parked; 3 events waiting\n"
    outbox.housekeep()
    assert len(outbox.begin()) == 2


def test_status_shows_parked_lanes(shell: Shell, outbox: OutboxFile) -> None:
    outbox.put(*(outbox.event() for _ in range(2)), outbox.event(THERE))
    assert shell.run("outbox status") == 0
    assert "0 events in 0 lanes" in shell.out
    assert "Parked lanes" not in shell.out
    shell.run(f"outbox park notify --guild {HERE.guild_id}")
    shell.run(f"outbox drop-lane notify --guild {THERE.guild_id} --yes")
    assert shell.run("outbox status") == 0
    assert "2 events in 1 lane; what is dropped from 1 lane is to be deleted" in shell.out
    assert ["notify", HERE.guild_id, "2"] in shell.rows
    told = shell.json("outbox status")
    assert (told["parked"], told["parked_lanes"], told["lanes_to_drop"]) == (2, 1, 1)
    assert told["most_parked"] == [{"workflow": "notify", "guild_id": HERE.guild_id, "events": 2}]


@pytest.mark.parametrize("command", ["park", "release", "drop-lane"])
def test_unknown_lane_names_known(shell: Shell, outbox: OutboxFile, command: str) -> None:
    assert shell.run(f"outbox {command} notify") == 1
    assert "there is no lane of workflow notify: the outbox has lanes of no workflow yet" in shell.err
    outbox.put(outbox.event())
    assert shell.run(f"outbox {command} notifi") == 1
    assert shell.out == ""
    assert "the outbox has lanes of notify\n" in shell.err
    assert shell.run(f"outbox {command} notify --guild 5") == 1
    assert "there is no lane of workflow notify, guild 5" in shell.err


@pytest.mark.parametrize("command", ["park", "release", "drop-lane"])
def test_guild_must_be_id(shell: Shell, outbox: OutboxFile, command: str) -> None:
    assert shell.run(f"outbox {command} notify --guild Base") == 2
    assert "must be an id" in shell.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "left"), [("y\n", 1), ("no\n", 4), ("", 4)])
def test_drop_lane_asks_first(
    shell: Shell, outbox: OutboxFile, monkeypatch: pytest.MonkeyPatch, typed: str, left: int
) -> None:
    outbox.put(*(outbox.event() for _ in range(3)), outbox.event(THERE))
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert shell.run(f"outbox drop-lane notify --guild {HERE.guild_id}") == (0 if left == 1 else 1)
    assert f"Delete 3 events in 1 lane of workflow notify, guild {HERE.guild_id} for good?" in shell.err
    assert ("to be dropped" if left == 1 else "nothing was dropped") in shell.out + shell.err
    outbox.housekeep()
    assert outbox.store.waiting == left


def test_drop_lane_needs_terminal_or_yes(
    shell: Shell, outbox: OutboxFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.put(outbox.event())
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert shell.run("outbox drop-lane notify") == 2
    assert "--yes" in shell.err
    assert shell.json("outbox drop-lane notify --yes") == {"lanes": 1, "events": 1}
    outbox.housekeep()
    assert outbox.store.waiting == 0


def test_drop_lane_without_events(shell: Shell, outbox: OutboxFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to ask about, or to mark."""
    outbox.put(outbox.event())
    outbox.begin()
    monkeypatch.setattr("sys.stdin", Terminal(""))
    assert shell.run("outbox drop-lane notify") == 0
    assert shell.out == "nothing waits in the lanes of workflow notify\n"

"""``voice-relay outbox`` and ``voice-relay trace``, as they are typed."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.cli.main import main
from bot.clock import system_clock
from bot.outbox.database import FILE_NAME
from bot.outbox.work import Work
from bot.routing.debounce import Held, HeldKey
from bot.settings.settings import load_data_dir
from bot.settings.sources import PREFIX
from bot.text import escape, render_bytes, render_span, render_time
from tests.support.outboxes import HERE, THERE, OutboxFile


class Shell:
    """Types commands where the outbox is in ``./data``; ``out`` and ``err`` are what the last one said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def run(self, command: str) -> int:
        try:
            code = main(command.split())
        except SystemExit as end:
            code = int(end.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return code

    def json(self, command: str, exit_code: int = 0) -> Any:
        assert self.run(f"{command} --json") == exit_code
        assert self.out.isascii()
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines()]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@pytest.fixture
def outbox(shell: Shell, tmp_path: Path) -> Iterator[OutboxFile]:
    outbox = OutboxFile(tmp_path / "data")
    yield outbox
    outbox.close()


class Terminal:
    """Where somebody types *typed* when asked; *meanwhile* is what happens before they do."""

    def __init__(self, typed: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._typed = typed
        self._meanwhile = meanwhile

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        self._meanwhile()
        return self._typed


@pytest.mark.parametrize(
    "command", ["outbox status", "outbox list", "outbox retry --all", "outbox drop abc", "trace 1"]
)
def test_needs_no_setting_but_says_where_there_is_no_outbox(
    shell: Shell, tmp_path: Path, command: str
) -> None:
    (tmp_path / ".env").write_text("VOICE_RELAY_LOG_LEVEL=loud\nVOICE_RELAY_NONSENSE=1\n")
    assert shell.run(command) == 3
    assert "no outbox in data yet" in shell.err
    assert "VOICE_RELAY_DATA_DIR" in shell.err
    assert not (tmp_path / "data").exists()


def test_looks_for_the_outbox_where_it_is_told_to(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("VOICE_RELAY_DATA_DIR=from-file\n")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "voice_relay_data_dir").write_text("from-secrets\n")
    monkeypatch.setenv("VOICE_RELAY_SECRETS_DIR", str(secrets))
    assert load_data_dir() == Path("from-file")
    monkeypatch.setenv("VOICE_RELAY_DATA_DIR", "from-environment")
    assert load_data_dir() == Path("from-environment")
    monkeypatch.setenv("VOICE_RELAY_DATA_DIR", "")
    assert load_data_dir(env_file=None) == Path("from-secrets")
    OutboxFile(tmp_path / "elsewhere").close()
    assert shell.run("outbox status --data-dir elsewhere") == 0
    assert shell.run("trace 1 --data-dir elsewhere") == 1


def test_status_of_an_empty_outbox_says_so(shell: Shell, outbox: OutboxFile) -> None:
    assert shell.run("outbox status") == 0
    assert "0 events in 0 lanes" in shell.out
    assert "0 dead letters" in shell.out
    assert "Longest" not in shell.out


def test_status_shows_what_stands_where(shell: Shell, outbox: OutboxFile) -> None:
    outbox.now_ms = system_clock() - 3 * 60_000 - 1000
    outbox.bury([outbox.event(THERE)], "the API answered 400")
    outbox.put(*(outbox.event() for _ in range(4)))
    (batch,) = outbox.begin()
    outbox.fail(batch, 3, "the API answered 503")
    assert shell.run("outbox status") == 0
    assert ["notify", HERE.guild_id, "4", "3", "minutes"] in shell.rows
    (row,) = (row for row in shell.rows if row[0:1] == [batch.execution])
    assert row[1:3] == ["notify", "3"]
    assert " ".join(row[5:]) == "3 the API answered 503 (3 minutes ago)"
    assert ["1", "the", "API", "answered", "400"] in shell.rows
    told = shell.json("outbox status")
    assert (told["waiting"], told["lanes"], told["dead_letters"], told["settling"]) == (4, 1, 1, 0)
    assert told["longest_queues"][0]["guild_id"] == HERE.guild_id
    assert told["in_flight"][0]["failed_attempts"] == 3
    assert told["reasons"] == [{"reason": "the API answered 400", "dead_letters": 1}]
    assert Path(told["file"]).name == FILE_NAME


def test_lists_dead_letters_with_their_ids_whole_and_in_columns(shell: Shell, outbox: OutboxFile) -> None:
    assert shell.run("outbox list") == 0
    assert shell.out == "no dead letters\n"
    ids = outbox.bury([outbox.event(), outbox.event(THERE)], "the API answered 400")
    assert shell.run("outbox list") == 0
    head, first, second = shell.out.splitlines()
    died = render_time(outbox.now_ms)
    line = f"1   {died}  discord.voice.joined  {HERE.guild_id}   {ids[0]}  the API answered 400"
    assert first == line
    assert head.index("REASON") == first.index("the API") == second.index("the API")
    (told, _) = shell.json("outbox list")["dead_letters"]
    assert (told["id"], told["event_id"], told["event"]["id"]) == (1, ids[0], ids[0])
    assert (told["died"], told["redrive"]) == ("2025-11-21T07:00:00.000Z", False)


def test_a_list_that_is_cut_says_how_much_is_left_out(shell: Shell, outbox: OutboxFile) -> None:
    outbox.bury([outbox.event() for _ in range(3)], "too long")
    outbox.put(*(outbox.event() for _ in range(3)))
    for command, rest in (("list", "and 2 older ones"), ("list --waiting", "and 2 later ones")):
        assert shell.run(f"outbox {command} --limit 1") == 0
        assert len(shell.rows) == 3
        assert rest in shell.out
        assert shell.json(f"outbox {command} --limit 1")["total"] == 3
    assert shell.run("outbox list --limit 3") == 0
    assert "and" not in shell.out
    assert shell.run("outbox list --reason nothing") == 0
    assert shell.out == "no dead letters\n"


def test_lists_the_events_that_wait(shell: Shell, outbox: OutboxFile) -> None:
    assert shell.run("outbox list --waiting") == 0
    assert shell.out == "no events wait\n"
    ids = outbox.put(*(outbox.event() for _ in range(4)))
    (batch,) = outbox.begin()
    assert shell.run("outbox list --waiting") == 0
    assert [(row[0], row[-1]) for row in shell.rows[1:]] == [
        *((event_id, batch.execution) for event_id in ids[:3]),
        (ids[3], "-"),
    ]
    assert [each["execution"] for each in shell.json("outbox list --waiting")["waiting"]] == [
        *[batch.execution] * 3,
        None,
    ]


def test_shows_a_dead_letter_whole(shell: Shell, outbox: OutboxFile) -> None:
    (event_id,) = outbox.bury([outbox.event(name="Nélly")], "the API answered 400")
    event = None
    for name in ("1", event_id):
        assert shell.run(f"outbox show {name}") == 0
        for words in ("dead letter 1", event_id, "the API answered 400", HERE.guild_id, "refused", "Nélly"):
            assert words in shell.out
        event = json.loads(shell.out[shell.out.index("\n{") :])
        assert event["data"]["user"]["name"] == "Nélly"
    (told,) = shell.json("outbox show 1")["dead_letters"]
    assert told["event"] == event


def test_shows_an_event_that_waits_whole(shell: Shell, outbox: OutboxFile) -> None:
    (event_id,) = outbox.put(outbox.event())
    assert shell.run(f"outbox show {event_id}") == 0
    assert "nothing yet" in shell.out
    assert '"name": "nelly"' in shell.out
    assert [each["event_id"] for each in shell.json(f"outbox show {event_id}")["waiting"]] == [event_id]


def test_cannot_show_what_is_not_there(shell: Shell, outbox: OutboxFile) -> None:
    assert shell.run("outbox show 7") == 1
    assert "there is no dead letter 7" in shell.err
    assert shell.out == ""


def test_what_people_made_up_does_not_move_the_cursor(shell: Shell, outbox: OutboxFile) -> None:
    """Neither a terminal's commands nor characters that turn text around; JSON stays the same JSON."""
    name = "\x1b[2J\x9b31m\u202egnp\u2028\U000e0041\x07 Nelly \N{PARTY POPPER}"
    (event_id,) = outbox.bury([outbox.event(name=name)], f"no {name}")
    for command in ("outbox show 1", "outbox list", "outbox status", f"trace {event_id}"):
        assert shell.run(command) == 0
        assert all(line.isprintable() for line in shell.out.split("\n"))
    shell.run("outbox show 1")
    assert "\N{PARTY POPPER}" in shell.out
    assert json.loads(shell.out[shell.out.index("\n{") :])["data"]["user"]["name"] == name


def test_retries_what_is_named_and_what_was_asked_for_before_is_no_mistake(
    shell: Shell, outbox: OutboxFile
) -> None:
    ids = outbox.bury([outbox.event() for _ in range(3)], "too long")
    assert shell.run(f"outbox retry 1 {ids[2]}") == 0
    assert shell.out.startswith("marked 2 dead letters to be sent again\n")
    assert "within a few seconds" in shell.out
    assert shell.json("outbox retry 1") == {"marked": 0, "marked_before": 1, "unknown": []}
    assert shell.run("outbox retry --all") == 0
    assert "marked 1 dead letter to be sent again, 2 more had been before" in shell.out
    assert shell.run("outbox status") == 0
    assert "3 of them about to be sent again" in shell.out
    outbox.housekeep()
    assert outbox.waiting_ids() == ids


def test_retries_all_with_a_reason(shell: Shell, outbox: OutboxFile) -> None:
    expired = outbox.bury([outbox.event()], "expired: it waited too long")
    outbox.bury([outbox.event()], "the API answered 400")
    assert shell.run("outbox retry --all --reason EXPIRED") == 0
    outbox.housekeep()
    assert outbox.waiting_ids() == expired


@pytest.mark.parametrize("action", ["retry", "drop --yes"])
def test_does_what_it_can_and_names_the_ids_that_it_does_not_know(
    shell: Shell, outbox: OutboxFile, action: str
) -> None:
    outbox.bury([outbox.event() for _ in range(2)], "too long")
    assert shell.run(f"outbox {action} 2 17 nonsense") == 1
    assert "1 dead letter" in shell.out
    assert shell.err.splitlines() == [
        "voice-relay: there is no dead letter 17",
        "voice-relay: there is no dead letter nonsense",
    ]
    assert shell.json(f"outbox {action} 17", exit_code=1)["unknown"] == ["17"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("retry", "which dead letters"),
        ("drop --yes", "which dead letters"),
        ("retry 1 --all", "which dead letters"),
        ("retry 1 --reason x", "--reason"),
        ("drop --yes --reason x", "which dead letters"),
        ("drop 1", "give --yes"),
        ("list --limit 0", "1 or more"),
        ("list --limit many", "1 or more"),
        ("list --waiting --reason x", "not allowed with"),
        ("dance", "invalid choice"),
        ("", "ACTION"),
    ],
)
def test_wrong_usage_changes_nothing(
    shell: Shell, outbox: OutboxFile, monkeypatch: pytest.MonkeyPatch, command: str, words: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    outbox.bury([outbox.event()], "too long")
    assert shell.run(f"outbox {command}") == 2
    assert words in shell.err
    assert shell.json("outbox status")["dead_letters"] == 1
    assert shell.json("outbox status")["dead_letters_to_redrive"] == 0


@pytest.mark.parametrize(("typed", "dropped"), [("y\n", 2), ("YES\n", 2), ("\n", 0), ("no\n", 0), ("", 0)])
def test_asks_at_a_terminal_before_it_drops(
    shell: Shell, outbox: OutboxFile, monkeypatch: pytest.MonkeyPatch, typed: str, dropped: int
) -> None:
    outbox.bury([outbox.event() for _ in range(2)], "too long")
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert shell.run("outbox drop --all") == (0 if dropped else 1)
    assert "Delete 2 dead letters for good?" in shell.err
    assert (f"dropped {dropped} dead letters" if dropped else "nothing was dropped") in shell.out + shell.err
    assert outbox.store.count_dead_letters() == 2 - dropped


def test_ctrl_c_at_the_question_drops_nothing(
    shell: Shell, outbox: OutboxFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press_ctrl_c() -> None:
        raise KeyboardInterrupt

    outbox.bury([outbox.event()], "too long")
    monkeypatch.setattr("sys.stdin", Terminal("y\n", press_ctrl_c))
    assert shell.run("outbox drop --all") == 130
    assert "voice-relay: nothing was dropped" in shell.err
    assert outbox.store.count_dead_letters() == 1


def test_drops_nothing_that_died_after_the_question(
    shell: Shell, outbox: OutboxFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.bury([outbox.event()], "too long")
    terminal = Terminal("y\n", lambda: outbox.bury([outbox.event()], "too long"))
    monkeypatch.setattr("sys.stdin", terminal)
    assert shell.run("outbox drop --all") == 0
    assert [each["id"] for each in shell.json("outbox list")["dead_letters"]] == [2]


def test_drops_all_with_a_reason_and_asks_nothing_when_there_is_none(
    shell: Shell, outbox: OutboxFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.bury([outbox.event()], "expired: it waited too long")
    outbox.bury([outbox.event()], "the API answered 400")
    assert shell.json("outbox drop --all --reason expired --yes") == {"dropped": 1, "unknown": []}
    monkeypatch.setattr("sys.stdin", Terminal(""))
    assert shell.run("outbox drop --all --reason expired") == 0
    assert shell.out == "dropped 0 dead letters\n"


def test_traces_an_event_to_where_it_stands(shell: Shell, outbox: OutboxFile) -> None:
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
    assert "on its way" in shell.out
    assert "2 failed; the last: the API answered 503 (2 hours ago)" in shell.out
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


def test_traces_a_dead_letter_and_an_event_that_is_held_in_their_lanes(
    shell: Shell, outbox: OutboxFile
) -> None:
    event = outbox.event()
    outbox.bury([event], "the API answered 400")
    key = HeldKey(THERE, "default", "80351110224678912")
    held: dict[HeldKey, Held | None] = {
        key: Held(None, None, json.loads(event.body), system_clock() + 60_500)
    }
    outbox.store.apply(Work(held=held), slots=0, now_ms=outbox.now_ms)
    assert shell.run(f"trace {event.event_id}") == 0
    assert f"workflow notify, guild {HERE.guild_id}: dead letter 1" in shell.out
    assert f"workflow notify, guild {THERE.guild_id}: held until it has settled" in shell.out
    assert "in 1 minute" in shell.out
    assert "the API answered 400" in shell.out
    states = [place["state"] for place in shell.json(f"trace {event.event_id}")["places"]]
    assert states == ["settling", "dead"]


@pytest.mark.parametrize("event_id", ["01KAHDBAC0ABCDEFGHJKMNPQRS", "nonsense"])
def test_an_unknown_event_is_said_to_be(shell: Shell, outbox: OutboxFile, event_id: str) -> None:
    assert shell.run(f"trace {event_id}") == 1
    assert f"{event_id} is unknown: it was never captured here" in shell.err
    assert "RECEIPTS_KEPT_S" in shell.err
    assert shell.json(f"trace {event_id}", exit_code=1)["places"] == []


SHOW = (sys.executable, "-m", "bot.cli", "outbox", "show", "1")
REPOSITORY = str(Path(__file__).parents[4])


def test_a_reader_that_has_seen_enough_is_no_failure(outbox: OutboxFile) -> None:
    outbox.bury([outbox.event(name="x" * 200_000)], "too long")
    environment = {**os.environ, "PYTHONPATH": REPOSITORY}
    with subprocess.Popen(SHOW, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"dead letter 1\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_shows_what_the_terminal_has_no_characters_for_as_json_does(outbox: OutboxFile) -> None:
    name = "Nélly \N{PARTY POPPER}"
    outbox.bury([outbox.event(name=name)], "too long")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": REPOSITORY}
    shown = subprocess.run(SHOW, env=environment, check=True, capture_output=True).stdout
    assert json.loads(shown[shown.index(b"\n{") :])["data"]["user"]["name"] == name


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-1, "less than a second"),
        (999, "less than a second"),
        (1000, "1 second"),
        (119_999, "1 minute"),
        (7_200_000, "2 hours"),
        (86_400_000, "1 day"),
    ],
)
def test_writes_a_span_in_its_largest_unit(ms: int, text: str) -> None:
    assert render_span(ms) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1, "1 byte"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")]
)
def test_writes_a_size_in_its_largest_unit(size: int, text: str) -> None:
    assert render_bytes(size) == text


def test_writes_times_in_the_local_zone() -> None:
    code = "from bot.text import render_time; print(render_time(1_763_708_400_123))"
    environment = {**os.environ, "TZ": "Asia/Kathmandu", "PYTHONPATH": REPOSITORY}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout == "2025-11-21 12:45:00.123+05:45\n"


def test_writes_what_a_terminal_would_obey_as_json_does() -> None:
    assert escape("a\tb\U000e0041é") == "a\\tb\\udb40\\udc41é"

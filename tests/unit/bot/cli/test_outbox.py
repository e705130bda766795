"""``voice-relay outbox``, as it is typed."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.clock import system_clock
from bot.outbox.database import FILE_NAME
from bot.settings.settings import load_data_dir
from bot.text import render_time
from tests.support.outboxes import HERE, THERE, OutboxFile
from tests.unit.bot.cli.shell import Shell


class Terminal:
    """A terminal where *typed* is typed when a question is asked, after *meanwhile* has happened."""

    def __init__(self, typed: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._typed = typed
        self._meanwhile = meanwhile

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        self._meanwhile()
        return self._typed


@pytest.mark.parametrize(
    "command", ["outbox status", "outbox list", "outbox redrive --all", "outbox drop abc", "trace 1"]
)
def test_missing_outbox_exits_with_3(shell: Shell, tmp_path: Path, command: str) -> None:
    (tmp_path / ".env").write_text("VOICE_RELAY_LOG_LEVEL=loud\nVOICE_RELAY_NONSENSE=1\n")
    assert shell.run(command) == 3
    assert "no outbox in data yet" in shell.err
    assert "VOICE_RELAY_DATA_DIR" in shell.err
    assert not (tmp_path / "data").exists()


def test_finds_data_directory(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_status_of_empty_outbox(shell: Shell, outbox: OutboxFile) -> None:
    assert shell.run("outbox status") == 0
    assert "0 events in 0 lanes" in shell.out
    assert "0 dead letters" in shell.out
    assert "Longest" not in shell.out


def test_status_counts_everything(shell: Shell, outbox: OutboxFile) -> None:
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
    assert (told["waiting"], told["lanes"], told["dead_letters"], told["debouncing"]) == (4, 1, 1, 0)
    assert told["longest_queues"][0]["guild_id"] == HERE.guild_id
    assert told["in_flight"][0]["failed_attempts"] == 3
    assert told["reasons"] == [{"reason": "the API answered 400", "dead_letters": 1}]
    assert Path(told["file"]).name == FILE_NAME


def test_lists_dead_letters_in_columns(shell: Shell, outbox: OutboxFile) -> None:
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


def test_cut_list_counts_rest(shell: Shell, outbox: OutboxFile) -> None:
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


def test_lists_waiting_events(shell: Shell, outbox: OutboxFile) -> None:
    assert shell.run("outbox list --waiting") == 0
    assert shell.out == "no events are waiting\n"
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


def test_shows_dead_letter_in_full(shell: Shell, outbox: OutboxFile) -> None:
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


def test_shows_waiting_event_in_full(shell: Shell, outbox: OutboxFile) -> None:
    (event_id,) = outbox.put(outbox.event())
    assert shell.run(f"outbox show {event_id}") == 0
    assert "not in flight" in shell.out
    assert '"name": "nelly"' in shell.out
    assert [each["event_id"] for each in shell.json(f"outbox show {event_id}")["waiting"]] == [event_id]


def test_unknown_id_fails(shell: Shell, outbox: OutboxFile) -> None:
    assert shell.run("outbox show 7") == 1
    assert "no dead letter or waiting event 7; for a delivered event, try voice-relay trace" in shell.err
    assert shell.out == ""


def test_user_text_is_escaped(shell: Shell, outbox: OutboxFile) -> None:
    """Terminal controls and characters that reverse text; the JSON stays the same."""
    name = "\x1b[2J\x9b31m\u202egnp\u2028\U000e0041\x07 Nelly \N{PARTY POPPER}"
    (event_id,) = outbox.bury([outbox.event(name=name)], f"no {name}")
    for command in ("outbox show 1", "outbox list", "outbox status", f"trace {event_id}"):
        assert shell.run(command) == 0
        assert all(line.isprintable() for line in shell.out.split("\n"))
    shell.run("outbox show 1")
    assert "\N{PARTY POPPER}" in shell.out
    assert json.loads(shell.out[shell.out.index("\n{") :])["data"]["user"]["name"] == name


def test_redrives_by_id_repeatedly(shell: Shell, outbox: OutboxFile) -> None:
    ids = outbox.bury([outbox.event() for _ in range(3)], "too long")
    assert shell.run(f"outbox redrive 1 {ids[2]}") == 0
    assert shell.out.startswith("marked 2 dead letters for redrive\n")
    assert "within a few seconds" in shell.out
    assert shell.json("outbox redrive 1") == {"marked": 0, "marked_before": 1, "unknown": []}
    assert shell.run("outbox redrive --all") == 0
    assert "marked 1 dead letter for redrive, 2 more were marked already" in shell.out
    assert shell.run("outbox status") == 0
    assert "3 of them marked for redrive" in shell.out
    outbox.housekeep()
    assert outbox.waiting_ids() == ids


def test_redrives_all_with_reason(shell: Shell, outbox: OutboxFile) -> None:
    expired = outbox.bury([outbox.event()], "expired: it waited too long")
    outbox.bury([outbox.event()], "the API answered 400")
    assert shell.run("outbox redrive --all --reason EXPIRED") == 0
    outbox.housekeep()
    assert outbox.waiting_ids() == expired


@pytest.mark.parametrize("action", ["redrive", "drop --yes"])
def test_names_unknown_ids(shell: Shell, outbox: OutboxFile, action: str) -> None:
    outbox.bury([outbox.event() for _ in range(2)], "too long")
    assert shell.run(f"outbox {action} 2 17 nonsense") == 1
    assert "1 dead letter" in shell.out
    assert shell.err.splitlines() == [
        "voice-relay: there is no dead letter 17",
        "voice-relay: there is no dead letter nonsense",
    ]
    assert shell.json(f"outbox {action} 17", exit_code=1)["unknown"] == ["17"]


@pytest.mark.parametrize("action", ["redrive", "drop"])
@pytest.mark.usefixtures("outbox")
def test_unknown_ids_alone_count_nothing(shell: Shell, action: str) -> None:
    assert shell.run(f"outbox {action} 17") == 1
    assert (shell.out, shell.err) == ("", "voice-relay: there is no dead letter 17\n")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("redrive", "which dead letters"),
        ("drop --yes", "which dead letters"),
        ("redrive 1 --all", "which dead letters"),
        ("redrive 1 --reason x", "--reason"),
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
def test_drop_asks_first(
    shell: Shell, outbox: OutboxFile, monkeypatch: pytest.MonkeyPatch, typed: str, dropped: int
) -> None:
    outbox.bury([outbox.event() for _ in range(2)], "too long")
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert shell.run("outbox drop --all") == (0 if dropped else 1)
    assert "Delete 2 dead letters for good?" in shell.err
    assert (f"dropped {dropped} dead letters" if dropped else "nothing was dropped") in shell.out + shell.err
    assert outbox.store.count_dead_letters() == 2 - dropped


def test_interrupted_question_drops_nothing(
    shell: Shell, outbox: OutboxFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press_ctrl_c() -> None:
        raise KeyboardInterrupt

    outbox.bury([outbox.event()], "too long")
    monkeypatch.setattr("sys.stdin", Terminal("y\n", press_ctrl_c))
    assert shell.run("outbox drop --all") == 130
    assert "voice-relay: nothing was dropped" in shell.err
    assert outbox.store.count_dead_letters() == 1


def test_drop_spares_later_letters(shell: Shell, outbox: OutboxFile, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox.bury([outbox.event()], "too long")
    terminal = Terminal("y\n", lambda: outbox.bury([outbox.event()], "too long"))
    monkeypatch.setattr("sys.stdin", terminal)
    assert shell.run("outbox drop --all") == 0
    assert [each["id"] for each in shell.json("outbox list")["dead_letters"]] == [2]


def test_drops_all_with_reason(shell: Shell, outbox: OutboxFile, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox.bury([outbox.event()], "expired: it waited too long")
    outbox.bury([outbox.event()], "the API answered 400")
    assert shell.json("outbox drop --all --reason expired --yes") == {"dropped": 1, "unknown": []}
    monkeypatch.setattr("sys.stdin", Terminal(""))
    assert shell.run("outbox drop --all --reason expired") == 0
    assert shell.out == "dropped 0 dead letters\n"


SHOW = (sys.executable, "-m", "bot.cli", "outbox", "show", "1")
REPOSITORY = str(Path(__file__).parents[4])


def test_closed_pipe_is_no_failure(outbox: OutboxFile) -> None:
    outbox.bury([outbox.event(name="x" * 200_000)], "too long")
    environment = {**os.environ, "PYTHONPATH": REPOSITORY}
    with subprocess.Popen(SHOW, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"dead letter 1\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_escapes_for_narrow_encoding(outbox: OutboxFile) -> None:
    name = "Nélly \N{PARTY POPPER}"
    outbox.bury([outbox.event(name=name)], "too long")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": REPOSITORY}
    shown = subprocess.run(SHOW, env=environment, check=True, capture_output=True).stdout
    assert json.loads(shown[shown.index(b"\n{") :])["data"]["user"]["name"] == name

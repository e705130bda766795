"""The commands on an outbox that something else has changed: they show what can be shown, in plain text."""

from pathlib import Path

import pytest

from tests.support.full_outbox import change, fill
from tests.unit.bot.cli.shell import Shell

VIEWS = (
    "outbox status",
    "outbox list",
    "outbox list --waiting",
    "outbox show 1",
    "trace DEAD",
    "trace WAITING",
)
SPOILT = {
    "times": """
        UPDATE dead_letter SET died_ms = 9223372036854775807;
        UPDATE event SET entered_ms = -9223372036854775808;
        UPDATE receipt SET delivered_ms = 9e17, created_ms = -9e17;
        UPDATE batch SET created_ms = 9e17, last_attempt_ms = -9e17, attempts = -3;
    """,
    "deep": """
        UPDATE dead_letter SET body =
        replace(hex(zeroblob(500)), '0', '[') || replace(hex(zeroblob(500)), '0', ']');
        UPDATE event SET body =
        replace(hex(zeroblob(400)), '0', '{"a":') || '1' || replace(hex(zeroblob(400)), '0', '}');
    """,
    "no JSON": """
        UPDATE dead_letter SET body = 'x' || char(27) || '[2J';
        UPDATE event SET body = '"';
    """,
    "no text": """
        UPDATE dead_letter SET reason = CAST(x'ff1bfe' AS TEXT), body = CAST(x'22ff22' AS TEXT);
        UPDATE lane SET workflow = CAST(x'611b5b324a' AS TEXT) || lane_id;
        UPDATE batch SET last_error = CAST(x'0d0aff' AS TEXT);
    """,
    "no lanes": "DELETE FROM lane",
    "long": """
        UPDATE dead_letter SET reason = hex(zeroblob(1000000));
        UPDATE event SET destination = hex(zeroblob(1000000));
    """,
}


@pytest.fixture
def ids(shell: Shell, tmp_path: Path) -> dict[str, str]:
    """A full outbox, and the ids of a dead and a waiting event in it."""
    fill(tmp_path / "data")
    dead = shell.json("outbox list")["dead_letters"][0]["event_id"]
    waiting = shell.json("outbox list --waiting")["waiting"][0]["event_id"]
    return {"DEAD": dead, "WAITING": waiting}


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("view", VIEWS)
def test_view_survives_spoilt_rows(
    shell: Shell, tmp_path: Path, ids: dict[str, str], view: str, spoilt: str
) -> None:
    """What is printed cannot control the terminal."""
    change(tmp_path / "data", SPOILT[spoilt])
    command = view.replace("DEAD", ids["DEAD"]).replace("WAITING", ids["WAITING"])
    assert shell.run(command) in {0, 1}
    assert all(line.isprintable() for line in (shell.out + shell.err).split("\n"))
    assert shell.run(f"{command} --json") in {0, 1}
    assert shell.out.isascii()


@pytest.mark.parametrize("view", [*VIEWS, "outbox redrive 1", "outbox drop 1 --yes"])
def test_damaged_page_names_remedy(shell: Shell, tmp_path: Path, ids: dict[str, str], view: str) -> None:
    path = tmp_path / "data" / "relay.sqlite3"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    assert shell.run(view) == 3
    assert f"{path.relative_to(tmp_path)}: database disk image is malformed. Start the relay" in shell.err
    assert shell.out == ""

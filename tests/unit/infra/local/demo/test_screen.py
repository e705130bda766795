"""What the demo writes, on a terminal and elsewhere."""

import datetime as dt
import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from infra.local.audit import Stretch
from infra.local.demo.account import Evening, Execution, draw_up
from infra.local.demo.evening import set_scene
from infra.local.demo.screen import Screen, open_console
from infra.local.discord import PostedMessage, StandIn
from tests.support.story import Story, run

AT = dt.datetime(2026, 11, 21, 20, 15, tzinfo=dt.UTC).timestamp()


class Stage:
    """A screen of 80 columns and the evening's guild; *terminal* gives it colours."""

    def __init__(self, *, terminal: bool) -> None:
        discord = StandIn()
        self.scene = set_scene(discord.world)
        self.output = io.StringIO()
        console = Console(
            file=self.output,
            force_terminal=terminal,
            color_system="truecolor" if terminal else None,
            width=80,
            _environ={},
        )
        self.screen = Screen(console, discord.world, dt.UTC)

    def line(self, who: str, text: str = "joined") -> str:
        general = self.scene.channels["General"].id
        return f"<t:{int(AT)}:T> 🟢 <@{self.scene.members[who].id}> {text} <#{general}>"

    def show(self, *lines: str) -> str:
        body: dict[str, Any] = {"embeds": [{"description": "\n".join(lines), "color": 0x57F287}]}
        self.screen.message("Voice Relay", body, AT)
        return self.output.getvalue()


@pytest.fixture
def plain() -> Stage:
    return Stage(terminal=False)


@pytest.fixture
def terminal() -> Stage:
    return Stage(terminal=True)


def without_escapes(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_message_looks_like_discord(plain: Stage) -> None:
    assert plain.show(plain.line("Nelly")).split("\n") == [
        "Voice Relay APP 20:15:00",
        "▌ 20:15:00 🟢 @Nelly joined #General",
        "",
    ]


def test_long_message_is_cut(plain: Stage) -> None:
    shown = plain.show(*[plain.line("Nelly")] * 25).splitlines()
    assert len(shown) == 5
    assert shown[-1] == "▌ … and 22 more lines"


def test_gap_is_not_cut(plain: Stage) -> None:
    gap = f"⚠️ Not watching <t:{int(AT)}:T>-<t:{int(AT)}:T>"
    inferred = plain.line("Moss") + " (inferred afterwards)"
    shown = plain.show(*[plain.line("Nelly")] * 10, gap, inferred, *[plain.line("Nelly")] * 10).splitlines()
    kept = shown[4:-1]
    assert kept[0].startswith("▌ ⚠️ Not watching ")
    assert kept[1].endswith(" 🟢 @Moss joined #General (inferred afterwards)")
    assert len(kept) == 2
    assert shown[-1] == "▌ … and 17 more lines"


def test_shows_eight_lines_whole(plain: Stage) -> None:
    """A gap and what was inferred in it are read in one piece."""
    assert len(plain.show(*[plain.line("Nelly")] * 8).splitlines()) == 9


def test_plain_has_no_control_characters(plain: Stage) -> None:
    plain.screen.title("voice-log", "The Lantern")
    with plain.screen.starting(2) as starting:
        starting.doing("something")
        starting.advance()
        starting.done("Something")
    plain.screen.narrate("Nelly joins General")
    plain.screen.trouble("The API is down")
    plain.screen.failure("trying", "no luck")
    plain.screen.log("one\ntwo", "some.log")
    shown = plain.show(plain.line("@everyone **bold**"))
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f]", shown) == []
    assert "@@everyone **bold** joined" in shown


def test_bar_stands_beside_every_row(terminal: Stage) -> None:
    shown = terminal.show(terminal.line("Nelly", "moved " * 20)).splitlines()[1:]
    assert len(shown) > 1
    assert all(row.startswith("\x1b[38;2;87;242;135m▌") for row in shown)
    assert all(cell_len(without_escapes(row)) <= 80 for row in shown)


def test_names_render_without_markup(terminal: Stage) -> None:
    member = terminal.scene.members["Nelly"]
    member.nick = "[red]x[/] :boom:"
    assert "@[red]x[/] :boom: joined" in without_escapes(terminal.show(terminal.line("Nelly")))


def test_log_shows_its_end(plain: Stage) -> None:
    plain.screen.log("\n".join(map(str, range(100))), "some.log")
    shown = plain.output.getvalue()
    assert "some.log" in shown
    assert shown.endswith("  98\n  99\n")
    assert "  50\n" not in shown


@pytest.mark.parametrize(("balanced", "verdict"), [(True, "✓"), (False, "✗")])
def test_account_ends_with_its_verdict(plain: Stage, *, balanced: bool, verdict: str) -> None:
    story = Story()
    story.watch()
    transition = run(
        story.guild.join(story.guild.add_member("nelly"), story.guild.add_voice_channel("Lobby"))
    )
    evening = Evening(story.guild.id, [transition], [] if balanced else [Stretch("restart", 0, 1)], range(0))
    line = f"<t:1:T> 🟢 <@{transition.user_id}> joined <#{transition.channel_id}> · 1 there"
    messages = [PostedMessage("1", AT, {"embeds": [{"description": line}]}, b"", {}, {})]
    account = draw_up(evening, [Execution("one", "SUCCEEDED", AT, story.told)], messages, slow_downs=0)

    plain.screen.account(account, took_s=12.3)

    shown = plain.output.getvalue().splitlines()
    lost = 0 if balanced else 1
    expected = f"{verdict} 1 sent, 1 delivered, {lost} lost, 0 doubled, 0 inferred, 0 gaps; 12 s in all"
    assert shown[-1] == expected
    assert any("lost: 1 × gap, restart" in line for line in shown) is not balanced
    assert all(cell_len(line) <= 80 for line in shown)
    assert any("from transition to execution" in line and "in the burst" in line for line in shown)


def test_next_step_names_command(plain: Stage) -> None:
    plain.screen.next_step(".venv/bin/voice-relay")
    assert plain.output.getvalue().endswith(" in .env:\n  .venv/bin/voice-relay run\n")


def test_odd_counts_are_explained(plain: Stage) -> None:
    """Fewer inferred than missed, and a channel out of order."""
    story = Story()
    member, channel = story.guild.add_member("nelly"), story.guild.add_voice_channel("Lobby")
    story.watch()
    story.stop()
    run(story.guild.join(member, channel))
    run(story.guild.leave(member))
    story.watch()
    evening = Evening(story.guild.id, story.transitions, [Stretch("restart", 0, 2)], range(0))
    runs = [Execution("one", "SUCCEEDED", AT, story.told)]

    plain.screen.account(draw_up(evening, runs, [], slow_downs=0), took_s=1.0)

    shown = plain.output.getvalue()
    assert re.search(r"inferred \(net of 2 unseen\) +0 +0 +0", shown)
    assert re.search(r"out of order +0 +0 +0", shown)
    assert "2, 2 of them while the bot was not watching" in shown
    assert all(cell_len(line) <= 80 for line in shown.splitlines())


def test_pipe_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where something else claims colours for it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not open_console(plain=False).is_terminal

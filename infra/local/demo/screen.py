"""What the demo shows: a progress bar while it starts, then the channel as people see it, then the account.

On a terminal with colours and a moving bar; elsewhere the same as plain lines without control characters.
"""

import datetime as dt
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from infra.local.demo.account import Account
from infra.local.discord import World, render_message

_WIDTH = 80
_MOST_LINES = 8
_LINES_OF_MANY = 3
_LOG_LINES = 15
# A gap, or what was inferred.
_TELLING = re.compile(r"^▌ ⚠|\(inferred afterwards\)$")
_MENTION = "#a5b0ff"
_BAR = "▌ "


def open_console(*, plain: bool) -> Console:
    """Return the terminal's console; with *plain*, or without a terminal, one that only writes lines."""
    plain = plain or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    if hasattr(sys.stdout, "reconfigure"):
        # An encoding that lacks the emoji must not end the demo.
        sys.stdout.reconfigure(errors="replace")
    if plain:
        return Console(
            force_terminal=False, color_system=None, width=_WIDTH, emoji=False, markup=False, highlight=False
        )
    return Console(emoji=False, markup=False, highlight=False)


class Starting:
    """The way to the start, *total* steps long."""

    def __init__(self, console: Console, progress: Progress, total: int) -> None:
        self._console = console
        self._progress = progress
        self._task = progress.add_task("starting", total=total)
        self._since = time.monotonic()

    def doing(self, text: str) -> None:
        self._progress.update(self._task, description=text)

    def advance(self) -> None:
        """Count one step; may be called from any thread."""
        self._progress.advance(self._task)

    def done(self, text: str) -> None:
        """Count one step and say that it is done; may be called from any thread."""
        self.advance()
        line = Text.assemble(("✓ ", "green"), text, (f"  {time.monotonic() - self._since:.1f} s", "dim"))
        self._console.print(line, soft_wrap=True)


class Screen:
    """Writes to *console*; times of day are shown in *tz*, the reader's own."""

    def __init__(self, console: Console, world: World, tz: dt.tzinfo) -> None:
        self._console = console
        self._world = world
        self._tz = tz

    @contextmanager
    def starting(self, total: int) -> Iterator[Starting]:
        columns = (
            SpinnerColumn(),
            BarColumn(bar_width=28),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        ) as progress:
            yield Starting(self._console, progress, total)

    def title(self, channel: str, guild: str) -> None:
        self._console.print()
        line = Text.assemble((f"# {channel}", "bold"), ("  ·  ", "dim"), f"voice channels of {guild}")
        self._console.print(line, soft_wrap=True)
        self._console.print(Text("─" * min(self._console.width, _WIDTH), "dim"))

    def narrate(self, text: str) -> None:
        """Say what happens in the guild, before the message about it."""
        self._print(Text(f"  {text}", "dim italic"))

    def trouble(self, text: str) -> None:
        """Say what breaks or recovers, and what to look for."""
        self._print(Text(f"  {text}", "dim yellow"))

    def message(self, sender: str, body: Mapping[str, Any], at: float) -> None:
        """Show a message as its readers see it; of a long one the beginning, gaps and inferred lines."""
        clock = dt.datetime.fromtimestamp(at, self._tz).strftime("%H:%M:%S")
        self._print(
            Text.assemble((sender, "bold"), " ", ("APP", "bold white on #5865f2"), (f" {clock}", "dim"))
        )
        lines = render_message(dict(body), self._world, self._tz).split("\n")
        hidden = 0
        if len(lines) > _MOST_LINES:
            kept = lines[:_LINES_OF_MANY] + [line for line in lines[_LINES_OF_MANY:] if _TELLING.search(line)]
            hidden, lines = len(lines) - len(kept), kept
        colour = _colour(body)
        for line in lines:
            self._print_line(line, colour)
        if hidden:
            self._print(Text.assemble((_BAR, colour), (f"… and {hidden} more lines", "dim")))

    def _print_line(self, line: str, colour: str) -> None:
        inside = line.startswith(_BAR)
        text = Text(line.removeprefix(_BAR))
        text.highlight_words(_mentions(self._world), _MENTION)
        bar = (_BAR, colour) if inside else ("", "")
        if not self._console.is_terminal:
            self._print(Text.assemble(bar, text))
            return
        # The bar stands beside every row of a line that does not fit into one.
        for row in text.wrap(self._console, self._console.width - len(_BAR)):
            self._print(Text.assemble(bar, row))

    def account(self, account: Account, *, took_s: float) -> None:
        """Show the figures and the verdict."""
        self._console.print()
        self._console.print(_comparison_table(account))
        self._console.print()
        self._console.print(_figures_table(account))
        for place, faults in (
            ("workflow", account.workflow.faults),
            ("channel", account.channel.describe()),
        ):
            for fault in faults:
                self._print(Text(f"In the {place}: {fault}", "red"))
        self._console.print()
        verdict = "✓" if account.balanced else "✗"
        line = (
            f"{verdict} {account.sent} sent, {account.delivered} delivered, {account.lost} lost, "
            f"{account.doubled} doubled, {account.inferred} inferred, {account.gaps} gaps; "
            f"{took_s:.0f} s in all"
        )
        self._print(Text(line, "bold green" if account.balanced else "bold red"))

    def next_step(self, command: str) -> None:
        """Say how to run the bot for real; *command* is the program's name or path."""
        self._print(Text("\nRun it for real, with your bot's token and a webhook's URL in .env:", "dim"))
        self._print(Text(f"  {command} run"))

    def failure(self, doing: str, reason: str) -> None:
        """Say what the demo was doing when it failed, and why it failed."""
        self._console.print()
        self._print(Text(f"✗ The demo failed while {doing}: {reason}", "bold red"))

    def log(self, log: str, kept_at: str) -> None:
        """Show the end of the bot's log."""
        self._print(Text(f"The last lines of the bot's log (all of it: {kept_at}):", "dim"))
        for line in log.splitlines()[-_LOG_LINES:]:
            self._print(Text(f"  {line}"))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


def _mentions(world: World) -> list[str]:
    """Return every form that a mention can take, the longest first: one may begin with another."""
    names = [
        name
        for guild in world.guilds.values()
        for name in (
            *(f"@{member.shown_name}" for member in guild.members.values()),
            *(f"#{channel.name}" for channel in guild.channels.values()),
        )
    ]
    return sorted(names, key=len, reverse=True)


def _colour(body: Mapping[str, Any]) -> str:
    embeds: Sequence[Mapping[str, Any]] = body.get("embeds") or ({},)
    return f"#{embeds[0].get('color', 0x4E5058):06x}"


def _comparison_table(account: Account) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    table.add_column("")
    places = {"in the workflow": account.workflow.comparison, "in the channel": account.channel}
    for name in ("expected", *places):
        table.add_column(name, justify="right")
    columns = places.values()
    # Who comes and goes unseen leaves nothing to infer.
    inferred, disorder = f"inferred (net of {account.missed} unseen)", "out of order"
    rows: dict[str, tuple[int, list[int]]] = {
        "transitions delivered": (account.sent - account.missed, [each.delivered for each in columns]),
        inferred: (
            account.workflow.comparison.inferred_expected,
            [each.inferred for each in columns],
        ),
        "gaps declared": (account.workflow.comparison.gaps_expected, [each.gaps for each in columns]),
        "lost": (0, [each.lost.total() for each in columns]),
        "doubled": (0, [each.duplicated.total() for each in columns]),
        "never happened": (0, [each.invented.total() for each in columns]),
        disorder: (0, [each.misplaced for each in columns]),
    }
    for name, (expected, counts) in rows.items():
        table.add_row(name, str(expected), *map(str, counts))
    return table


def _figures_table(account: Account) -> Table:
    table = Table.grid(padding=(0, 2))
    others = ", ".join(f"{count} {status}" for status, count in account.unsuccessful.items())
    rows = {
        "transitions sent": f"{account.sent}, {account.missed} of them while the bot was not watching",
        "executions": f"{account.executions}, {others or 'all succeeded'}",
        "names or ids used twice": str(len(account.repeated)),
        "gaps declared too short": str(len(account.workflow.short_gaps)),
        "messages": str(account.messages),
        "burst": f"{account.burst} transitions in {_seconds(account.burst_s)}",
        "Discord said 'slow down'": f"{account.slow_downs} times, and the next messages waited",
        "from transition to execution": f"{_seconds(account.to_execution.usual_s)} (median), "
        f"in the burst {_seconds(account.to_execution.in_burst_s)}",
        "from transition to message": f"{_seconds(account.to_message.usual_s)} (median), "
        f"in the burst {_seconds(account.to_message.in_burst_s)}",
    }
    for name, value in rows.items():
        table.add_row(f" {name}", value)
    return table


def _seconds(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"

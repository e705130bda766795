"""Renders the figures, as a table and as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tests.bench.bots import BEFORE
from tests.bench.machine import Machine
from tests.bench.suite import Plan, Result

Format = Callable[[float], str]


def _rate(value: float) -> str:
    return f"{value:,.0f} /s"


def _microseconds(value: float) -> str:
    return f"{value * 1e6:,.0f} µs"


def _milliseconds(value: float) -> str:
    return f"{value * 1e3:.1f} ms"


def _mebibytes(value: float) -> str:
    return f"{value / 2**20:.0f} MiB"


def _percent(value: float) -> str:
    if value in (0, 1):
        return f"{value:.0%}"
    # One of 100,000 must not be rounded away.
    return f"{value:.1%}" if 0.001 <= value <= 0.999 else f"{value:.3%}"


def _number(value: float) -> str:
    return f"{value:.1f}"


_ACCOUNT: tuple[tuple[str, str, Format], ...] = (
    ("lost_share", "lost", _percent),
    ("wrong_share", "told as something else", _percent),
    ("doubled_share", "doubled", _percent),
    ("exact_share", "guilds told exactly, in order", _percent),
)
_BURST: tuple[tuple[str, str, Format], ...] = (
    ("per_s", "transitions delivered", _rate),
    ("cpu_s", "CPU per transition", _microseconds),
    ("events_per_request", "events per request", _number),
    *_ACCOUNT,
)
ROWS: dict[str, tuple[tuple[str, str, Format], ...]] = {
    "sustained": _BURST,
    "slow-api": _BURST,
    "one-guild": _BURST,
    "followed": _BURST,
    "latency": (
        ("p50_s", "latency, median", _milliseconds),
        ("p99_s", "latency, 99th percentile", _milliseconds),
        ("warm_p99_s", "the same, after the first second", _milliseconds),
        ("cpu_s", "CPU per transition", _microseconds),
        *_ACCOUNT,
    ),
    "memory": (
        ("one_bytes", "peak memory, 1 guild", _mebibytes),
        ("many_bytes", "peak memory, many guilds", _mebibytes),
    ),
}


_HEADINGS = {"relay": "Voice Relay", "relaxed": "synchronous\nnormal", "plain": "plain bot", BEFORE: "before"}
_RIVALS = {"plain": "to\nplain", BEFORE: "to\nbefore"}


def render(plan: Plan, machine: Machine, results: Sequence[Result]) -> RenderableType:
    """Return the table, below a line about the machine."""
    shown = [bot for bot in _HEADINGS if any(bot in result.runs for result in results)]
    rivals = [bot for bot in _RIVALS if bot in shown]
    table = Table()
    table.add_column()
    for heading in [*(_HEADINGS[bot] for bot in shown), *(_RIVALS[bot] for bot in rivals)]:
        table.add_column(heading, justify="right")
    for result in results:
        table.add_section()
        table.add_row(Text(_title(result.name, plan), style="bold"))
        busy = "unknown" if result.others_cores is None else f"{result.others_cores:.2f} cores"
        table.add_row(Text(f"  other programs meanwhile: {busy}", style="dim"))
        figures = {bot: result.sum_up(bot) for bot in result.runs}
        for name, label, show in ROWS[result.name]:
            row = {bot: found[name] for bot, found in figures.items()}
            cells = [show(row[bot]) if bot in row else "" for bot in shown]
            ratios = [_ratio(row["relay"], row[bot]) if bot in row else "" for bot in rivals]
            table.add_row(f"  {label}", *cells, *ratios)
    facts = (
        f"{machine.processor}, {machine.cores} cores, {machine.system}, Python {machine.python}, "
        f"SQLite {machine.sqlite}; a commit that is flushed to this disk takes "
        f"{_milliseconds(machine.commit_s)} (median)"
    )
    note = (
        f"Medians of {plan.repeats}; of what went wrong, the worst." if plan.repeats > 1 else "One run each."
    )
    return Group(facts, table, note)


def to_json(plan: Plan, machine: Machine, results: Sequence[Result]) -> bytes:
    """Return everything, single runs included, as JSON; times in seconds, sizes in bytes."""
    document: dict[str, Any] = {
        "plan": asdict(plan),
        "machine": asdict(machine),
        "results": {
            result.name: {
                "others_cores": result.others_cores,
                **{bot: {"summary": result.sum_up(bot), "runs": result.runs[bot]} for bot in result.runs},
            }
            for result in results
        },
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


def _title(name: str, plan: Plan) -> str:
    return {
        "followed": (
            f"The same, each execution followed to its end, API answers after {plan.slow_api_s * 1000:.0f} ms"
        ),
        "sustained": "As fast as it takes them, 20 guilds, API answers at once",
        "slow-api": f"The same, API answers after {plan.slow_api_s * 1000:.0f} ms",
        "one-guild": f"The same in one guild, API answers after {plan.slow_api_s * 1000:.0f} ms",
        "latency": f"At {plan.per_second:.0f} per second, frame to request",
        "memory": f"Memory, with 1 and with {plan.many_guilds:,} guilds",
    }[name]


def _ratio(relay: float, plain: float) -> str:
    return f"{relay / plain:.2f}" if relay and plain else ""

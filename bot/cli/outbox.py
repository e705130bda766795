"""``voice-relay outbox``: looks at the outbox beside a running relay; redrives dead letters or drops them."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bot.cli.confirmation import confirm, require_terminal
from bot.cli.outbox_view import (
    describe_letter,
    describe_status,
    describe_waiting,
    render_event,
    render_letter,
    render_letters,
    render_status,
    render_waiting,
)
from bot.clock import system_clock
from bot.errors import SettingsError
from bot.outbox.inspection import Ledger, open_ledger
from bot.outbox.records import Chosen
from bot.settings.settings import load_data_dir
from bot.text import Answer, count, join_blocks, render_for_machine

_WHEN_REDRIVEN: Final = (
    "A running relay takes them within a few seconds, a thousand at a time; otherwise the next to start does."
)
_NOT_DROPPED: Final = "nothing was dropped"


def answer_outbox(arguments: argparse.Namespace) -> Answer:
    """Do what was asked for; raises SettingsError where that makes no sense, StoreError without an outbox."""
    return _ACTIONS[arguments.action](arguments)


def find_data_dir(arguments: argparse.Namespace) -> Path:
    named: Path | None = arguments.data_dir
    return load_data_dir() if named is None else named


def _status(arguments: argparse.Namespace) -> Answer:
    with open_ledger(find_data_dir(arguments)) as ledger:
        status = ledger.read_status()
    if arguments.json:
        return Answer(render_for_machine(describe_status(status)))
    return Answer(render_status(status, system_clock()))


def _list(arguments: argparse.Namespace) -> Answer:
    with open_ledger(find_data_dir(arguments)) as ledger:
        if arguments.waiting:
            events, total = ledger.list_waiting(limit=arguments.limit)
            lines = render_waiting(events, total)
            described = {"waiting": [describe_waiting(event) for event in events], "total": total}
        else:
            letters, total = ledger.list_letters(limit=arguments.limit, reason=arguments.reason)
            lines = render_letters(letters, total)
            described = {"dead_letters": [describe_letter(letter) for letter in letters], "total": total}
    return Answer(render_for_machine(described) if arguments.json else lines)


def _show(arguments: argparse.Namespace) -> Answer:
    with open_ledger(find_data_dir(arguments)) as ledger:
        letters = ledger.find_letters(arguments.id)
        events = ledger.find_waiting(arguments.id)
    if not letters and not events:
        return Answer([], [f"{_unknown(arguments.id)}, and no such event waits; see also: voice-relay trace"])
    if arguments.json:
        return Answer(
            render_for_machine(
                {
                    "dead_letters": [describe_letter(letter) for letter in letters],
                    "waiting": [describe_waiting(event) for event in events],
                }
            )
        )
    now_ms = system_clock()
    return Answer(
        join_blocks(
            *(render_letter(letter, now_ms) for letter in letters),
            *(render_event(event, now_ms) for event in events),
        )
    )


def _retry(arguments: argparse.Namespace) -> Answer:
    _check_choice(arguments)
    with open_ledger(find_data_dir(arguments), mode="rw") as ledger:
        chosen = _choose(ledger, arguments)
        marked = ledger.mark_for_redrive(chosen.letter_ids)
    before = len(chosen.letter_ids) - marked
    if arguments.json:
        described = {"marked": marked, "marked_before": before, "unknown": chosen.unknown}
        return Answer(render_for_machine(described), _problems(chosen))
    lines = [f"marked {count(marked, 'dead letter')} to be sent again"]
    if before:
        lines[0] += f", {before} more had been before"
    if chosen.letter_ids:
        lines.append(_WHEN_REDRIVEN)
    return Answer(lines, _problems(chosen))


def _drop(arguments: argparse.Namespace) -> Answer:
    _check_choice(arguments)
    data_dir = find_data_dir(arguments)
    with open_ledger(data_dir) as ledger:
        chosen = _choose(ledger, arguments)
    if chosen.letter_ids and not arguments.yes:
        require_terminal()
        question = f"Delete {count(len(chosen.letter_ids), 'dead letter')} for good?"
        if not confirm(question, _NOT_DROPPED):
            return Answer([], [_NOT_DROPPED, *_problems(chosen)])
    with open_ledger(data_dir, mode="rw") as ledger:
        dropped = ledger.drop(chosen.letter_ids)
    if arguments.json:
        return Answer(render_for_machine({"dropped": dropped, "unknown": chosen.unknown}), _problems(chosen))
    return Answer([f"dropped {count(dropped, 'dead letter')}"], _problems(chosen))


def _check_choice(arguments: argparse.Namespace) -> None:
    if bool(arguments.ids) == arguments.all:
        raise SettingsError(["which dead letters? Give their ids, or --all"])
    if arguments.reason and not arguments.all:
        raise SettingsError(["--reason chooses among all dead letters: give --all as well, and no ids"])


def _choose(ledger: Ledger, arguments: argparse.Namespace) -> Chosen:
    return ledger.choose_all(arguments.reason) if arguments.all else ledger.choose(arguments.ids)


def _problems(chosen: Chosen) -> list[str]:
    return [_unknown(name) for name in chosen.unknown]


def _unknown(name: str) -> str:
    return f"there is no dead letter {name}"


_ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace], Answer]]] = {
    "status": _status,
    "list": _list,
    "show": _show,
    "retry": _retry,
    "drop": _drop,
}

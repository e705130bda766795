"""``voice-relay signal``: lets a waiting execution go on."""

import argparse
import asyncio
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bot.api.client import ApiClient
from bot.api.execution_arn import ExecutionArn, check_region, parse_execution_arn
from bot.api.signals import OPERATOR, Answer, Decider, Outcome, Signals
from bot.api.target import Target
from bot.backoff import backoff_s
from bot.cli.execution import ask_api, load_deployed_settings
from bot.cli.parser import Arguments, CommandParser
from bot.clock import system_clock
from bot.console import Console
from bot.errors import SettingsError, TemporaryFailure
from bot.text import escape, render_moment

_ATTEMPTS: Final = 3
_NAME_MAX_CHARS: Final = 80
_SIGNAL_MAX_CHARS: Final = 40
_NOT_WAITING: Final = (
    "{name} does not wait for a signal: it has not come so far yet, it waits no more, or it is none of this "
    "stack's executions; `voice-relay status ARN` shows how it stands"
)
_NOT_ALLOWED: Final = (
    "{name} takes no '{signal}' from an operator: its workflow says who may send which signal"
)
_DECIDED: Final = "{name} has been decided already: '{signal}' by {by}, {when}"


@dataclass(frozen=True, slots=True)
class Options:
    """``execution`` is a name or an ARN."""

    execution: str
    signal: str
    data: dict[str, Any]


def add_arguments(parser: CommandParser) -> None:
    parser.description = (
        "Let an execution that waits for a signal go on. Its workflow says which signals it takes from an "
        "operator. Needs the stack's bot policy."
    )
    parser.epilog = "Exit codes: 0 the execution goes on, 1 it does not, 2 wrong usage or settings."
    parser.add_argument("execution", metavar="EXECUTION", help="the execution's name or ARN")
    parser.add_argument("signal", metavar="SIGNAL", help="the signal, such as admit")
    parser.add_argument(
        "--data",
        type=_json_object,
        default={},
        metavar="JSON",
        help="what the workflow gets with the signal: a JSON object",
    )


def read_options(arguments: Arguments) -> Options:
    if not 0 < len(arguments.signal) <= _SIGNAL_MAX_CHARS:
        raise SettingsError([f"a signal has 1 to {_SIGNAL_MAX_CHARS} characters"])
    return Options(arguments.execution, arguments.signal, arguments.data)


def run(options: Options, console: Console) -> int:
    name, arn = options.execution.strip(), None
    if ":" in name:
        arn = parse_execution_arn(name, lambda _: None)
        name = arn.name
    if not 0 < len(name) <= _NAME_MAX_CHARS:
        raise SettingsError([f"the name of an execution has 1 to {_NAME_MAX_CHARS} characters"])
    settings = load_deployed_settings()
    return ask_api(settings, lambda target: send(name, arn, options, target, console))


async def send(
    name: str, arn: ExecutionArn | None, options: Options, target: Target, console: Console
) -> int:
    """Send the signal and print what became of it; raises the DeliveryError that prevented it."""
    if arn is not None:
        check_region(arn, target.region)
    async with ApiClient(target, max_connections=1) as api:
        answer = await _send(Signals(api), name, options)
    if answer.outcome is Outcome.SIGNALLED:
        return console.report([escape(f"signalled: {name} goes on with '{options.signal}'")])
    return console.report([], [escape(_explain(answer, name, options.signal))])


async def _send(signals: Signals, name: str, options: Options) -> Answer:
    for attempt in range(1, _ATTEMPTS):
        try:
            return await signals.send(name, options.signal, by=OPERATOR, data=options.data)
        except TemporaryFailure as error:
            await asyncio.sleep(backoff_s(attempt, error.retry_after_s))
    return await signals.send(name, options.signal, by=OPERATOR, data=options.data)


def _explain(answer: Answer, name: str, wanted: str) -> str:
    if answer.outcome is Outcome.ALREADY_DECIDED and answer.by is not None and answer.at_ms is not None:
        when = render_moment(answer.at_ms, system_clock())
        return _DECIDED.format(name=name, signal=answer.signal, by=_render_decider(answer.by), when=when)
    text = _NOT_ALLOWED if answer.outcome is Outcome.NOT_ALLOWED else _NOT_WAITING
    return text.format(name=name, signal=wanted)


def _render_decider(by: Decider) -> str:
    if by.kind == "user":
        return f"user {by.id}"
    return "the relay" if by.kind == "relay" else "an operator"


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError('must be a JSON object, such as {"note": "welcome"}')
    return value

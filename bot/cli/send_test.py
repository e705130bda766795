"""``voice-relay send-test``: one made-up event through the real API, past the outbox."""

import difflib
import re
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Final

import orjson

from bot.api.client import ApiClient
from bot.api.executions import Execution, Executions, follow
from bot.api.target import Target
from bot.cli.connect import connect
from bot.cli.event_loop import run_async
from bot.cli.execution_view import explain_end
from bot.cli.hops import Sent, describe_end, describe_hops, describe_start
from bot.cli.parser import Arguments, CommandParser, seconds, snowflake
from bot.cli.waiting import ASK_AGAIN, hint_failures, waiting_for
from bot.cli.webhook_check import check_webhook
from bot.clock import format_ms, system_clock
from bot.console import EXIT_DONE, Console
from bot.errors import Rejected, SettingsError, TemporaryFailure
from bot.routing.targets import explain_workflow, known_targets
from bot.settings.definitions import find_definitions
from bot.settings.settings import load_api_settings
from bot.settings.values import WEBHOOK_REMEDY
from bot.telemetry.logs import configure_logging
from bot.ulid import UlidFactory
from bot.voice.events import VoiceEvent
from workflow.registry import WORKFLOWS, Kind

_STARTABLE: Final = [workflow.name for workflow in WORKFLOWS.values() if workflow.startable]
_DESTINATION: Final = "default"
_TIMEOUT_S: Final = 900.0
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Facts that are printed one after the other share a column.
_NAMES_WIDTH: Final = len("execution")
_NO_RECORD: Final = (
    "it was accepted, but {} is an Express workflow: Step Functions keeps no record to wait for"
)
_NO_WORKFLOW: Final = (
    "the API does not know the workflow {}{}: it is not deployed, or VOICE_RELAY_API_ENDPOINT is not the "
    "stack's ApiEndpoint"
)
_UNREACHABLE: Final = "the webhook (VOICE_RELAY_WEBHOOK_URL) may be unreachable from this machine"


@dataclass(frozen=True, slots=True)
class Options:
    """The event says that the user joined the channel."""

    guild_id: str = "1"
    channel_id: str = "1"
    user_id: str = "1"
    workflow: str = "notify"
    destination: str = "default"
    wait: bool = False
    timeout_s: float = _TIMEOUT_S


def add_arguments(parser: CommandParser) -> None:
    parser.description = (
        "Send one made-up event through the API, past the outbox, and print the execution that it started."
    )
    parser.epilog = (
        "Exit codes: 0 accepted, and with --wait accepted by Discord; 1 otherwise; 2 wrong usage or settings."
    )
    for name in ("guild", "channel", "user"):
        parser.add_argument(
            f"--{name}-id", default="1", type=snowflake, metavar="ID", help="of the event (default: 1)"
        )
    parser.add_argument(
        "--workflow",
        default="notify",
        metavar="NAME",
        help=f"{', '.join(_STARTABLE)}, or one of the stack's own (default: %(default)s)",
    )
    parser.add_argument(
        "--destination", metavar="NAME", help=f"for a workflow that posts (default: {_DESTINATION})"
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="wait for the end, and print how long each hop took; always so in single-machine mode",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="S",
        help=f"wait no longer than S seconds (default: {_TIMEOUT_S:g})",
    )


def read_options(arguments: Arguments) -> Options:
    problems = [
        f"--{option} must be a name of letters, digits, - and _"
        for option in ("workflow", "destination")
        if not _NAME.fullmatch(getattr(arguments, option) or _DESTINATION)
    ]
    known = WORKFLOWS.get(arguments.workflow)
    if known is not None and not known.startable:
        problems.append(f"--workflow {known.name} takes no event: choose {', '.join(_STARTABLE)}")
    elif known is not None and not known.posts and arguments.destination is not None:
        problems.append(f"{known.name} posts nothing: leave out --destination")
    if arguments.timeout is not None and not arguments.wait:
        problems.append("--timeout limits the waiting: give --wait as well")
    if problems:
        raise SettingsError(problems)
    return Options(
        guild_id=arguments.guild_id,
        channel_id=arguments.channel_id,
        user_id=arguments.user_id,
        workflow=arguments.workflow,
        destination=arguments.destination or _DESTINATION,
        wait=arguments.wait,
        timeout_s=arguments.timeout or _TIMEOUT_S,
    )


def run(options: Options, console: Console) -> int:
    settings = load_api_settings()
    deployed = settings.api_endpoint is not None
    targets = known_targets(
        single_machine=not deployed, workflows=() if deployed else find_definitions(settings.workflows_dir)
    )
    beside = options.workflow not in _STARTABLE or WORKFLOWS[options.workflow].own_stack
    if (
        not deployed
        and settings.webhook_url is not None
        and beside
        and options.workflow not in targets.workflows
    ):
        raise SettingsError([explain_workflow(options.workflow, targets)])
    if not deployed:
        # The execution ends with this process.
        options = replace(options, wait=True)
    # The standard output has nothing but the answer.
    redactor = configure_logging(settings.log_format, settings.log_level, settings.secrets(), sys.stderr)

    async def body() -> int:
        if not deployed and settings.webhook_url is not None:
            name = "VOICE_RELAY_WEBHOOK_URL"
            await check_webhook(name, settings.webhook_url, remedy=WEBHOOK_REMEDY, hint=console.hint)
        async with connect(settings, redactor, {options.workflow} if beside else ()) as target:
            return await send_test(options, target, console, deployed=deployed)

    return run_async(body())


async def send_test(
    options: Options,
    target: Target,
    console: Console,
    *,
    deployed: bool = True,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> int:
    """Send the event and, if asked to, wait for its end; raises the DeliveryError that stopped it.

    In single-machine mode, where nothing is *deployed*, the execution ends with this process.
    """
    async with ApiClient(target, max_connections=1) as api:
        # Finding credentials is no hop, so it happens before the clock starts.
        await target.credentials.get()
        begun_s = monotonic_s()
        sent = await _send(options, api, monotonic_s)
        if not options.wait:
            console.say(sent.arn)
            return EXIT_DONE
        known = WORKFLOWS.get(options.workflow)
        if (known is not None and known.kind is Kind.EXPRESS) or ":execution:" not in sent.arn:
            return console.report([sent.arn], [_NO_RECORD.format(options.workflow)])
        console.say_facts(describe_start(sent), width=_NAMES_WIDTH)
        with waiting_for(sent.arn) if deployed else nullcontext():
            looks_s = [begun_s]
            found = await _follow(options, sent, Executions(api), console, looks_s, monotonic_s)
    console.say_facts(describe_hops(sent, found), width=_NAMES_WIDTH)
    if not found.ended:
        remedy = ASK_AGAIN.format(sent.arn) if deployed else _UNREACHABLE
        problem = f"the execution was still running after {options.timeout_s:g} s; {remedy}"
        return console.report([], [problem])
    now_s = monotonic_s()
    posts = known is not None and known.posts
    end = describe_end(found, posts=posts, whole_s=now_s - begun_s, late_s=now_s - looks_s[-2])
    console.say_facts(end, width=_NAMES_WIDTH)
    return console.report([], explain_end(found, deployed=deployed))


async def _follow(
    options: Options,
    sent: Sent,
    executions: Executions,
    console: Console,
    looks_s: list[float],
    monotonic_s: Callable[[], float],
) -> Execution:
    """Return the execution as last seen; the time of each look is appended to *looks_s*."""

    async def look() -> Execution:
        looks_s.append(monotonic_s())
        return await executions.describe(sent.arn)

    return await follow(look, timeout_s=options.timeout_s, on_failure=hint_failures(console.hint), new=True)


async def _send(options: Options, api: ApiClient, monotonic_s: Callable[[], float]) -> Sent:
    sent_ms = system_clock()
    new_id = UlidFactory()
    event = _build_event(new_id(sent_ms), sent_ms, options)
    execution = f"test-{new_id(sent_ms)}"
    body = orjson.dumps(
        {"id": execution, "destination": options.destination, "parameters": {}, "events": [event]}
    )
    sent_s = monotonic_s()
    try:
        arn = await api.start(options.workflow, execution, body)
    except TemporaryFailure as error:
        if error.status == 404:
            near = difflib.get_close_matches(options.workflow, _STARTABLE, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise Rejected(_NO_WORKFLOW.format(options.workflow, hint), status=404) from None
        raise
    return Sent(arn, sent_ms, system_clock(), monotonic_s() - sent_s)


def _build_event(event_id: str, now_ms: int, options: Options) -> VoiceEvent:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/discord/guilds/{options.guild_id}",
        "type": "discord.voice.joined",
        "subject": f"users/{options.user_id}",
        "time": format_ms(now_ms),
        "data": {
            "guild": {"id": options.guild_id, "name": None},
            "user": {"id": options.user_id, "name": None, "display_name": None, "bot": None},
            "channel": {"id": options.channel_id, "name": None, "kind": "voice"},
            "previous_channel": None,
            "changes": {},
            "occupants": 1,
            "duration_s": None,
            "inferred": False,
            "state": {
                "self_mute": False,
                "self_deaf": False,
                "mute": False,
                "deaf": False,
                "self_stream": False,
                "self_video": False,
                "suppress": False,
            },
        },
    }

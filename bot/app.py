"""The composition root: the one place that builds the bot's parts and wires them to each other.

    gateway ──payload──▶ intake (tracker, rules) ──▶ outbox (thread, SQLite) ──batch──▶ dispatcher ──▶ API
                                                        ▲                                   │         ▲
                                                        └────────── delivered, refused ─────┘         │
                                                                               heartbeat, while ready ┘

What workflows want done in Discord goes another way: AWS's activity ──task──▶ worker ──request──▶ Discord.
So do the presses of buttons: gateway ──press──▶ interactions ──signal──▶ API, and the answer ──▶ Discord.

Stopping goes the same way: the heartbeat ends, then no more frames, then no more batches, then what is in
flight, actions and presses too, finishes or is given up within the grace, then everything is on disk and the
file is closed. The next process sends again, the same, what was given up, and resumes the gateway's session.
"""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import structlog

from bot.actions.people import People
from bot.actions.performer import Performer
from bot.actions.rest import Rest
from bot.actions.worker import Worker
from bot.api.activities import Activities, resolve_states_url
from bot.api.client import ApiClient
from bot.api.executions import Executions
from bot.api.signals import Signals
from bot.api.target import Target
from bot.api.webhook import ask_webhook
from bot.clock import elapsed_clock
from bot.delivery.dispatcher import Dispatcher
from bot.delivery.follower import Follower
from bot.delivery.polls import POLLS_PER_S
from bot.delivery.webhook_watch import WebhookWatch
from bot.errors import RelayError
from bot.gateway.client import Gateway
from bot.gateway.intake import Intake, log_skipped
from bot.gateway.interaction_rest import InteractionRest
from bot.gateway.interactions import Interactions
from bot.outbox.database import check_data_dir, open_database
from bot.outbox.service import Outbox
from bot.outbox.store import Limits, Store
from bot.relay import Relay, Start, check_rules, read_rules
from bot.routing.targets import beside_relay
from bot.settings.aws import open_session
from bot.settings.settings import Settings
from bot.telemetry.logs import log_loop_exception
from bot.ulid import UlidFactory
from bot.voice.tracker import Tracker
from workflow.registry import is_followed

log = structlog.get_logger(__name__)


async def run(settings: Settings, target: Target) -> None:
    """Run the relay until SIGTERM or SIGINT; raises a RelayError for what keeps it from running."""
    _tune_garbage_collector()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_loop_exception)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, number, stop)
    try:
        async with AsyncExitStack() as stack:
            relay = await stack.enter_async_context(open_relay(settings, target))
            loop.add_signal_handler(signal.SIGHUP, relay.reload_rules)
            await relay.run(stop)
    except BaseExceptionGroup as group:
        # Not `except*`: Python 3.11.2 wraps what is raised inside it in a group of its own.
        refused, rest = group.split(RelayError)
        if refused is None or rest is not None:
            raise
        raise _first(refused) from None
    log.info("stopped")


@asynccontextmanager
async def open_relay(settings: Settings, target: Target) -> AsyncIterator[Relay]:
    """Build the relay's parts; they are closed, in order, on the way out."""
    rules = read_rules(settings)
    database = await asyncio.to_thread(
        open_database, settings.data_dir, synchronous=settings.outbox_synchronous
    )
    store = await asyncio.to_thread(Store, database, _limits(settings))
    # The places in flight bound the connections, for each workflow by itself; none waits for another's.
    api = ApiClient(target, max_connections=0)
    answers = InteractionRest(settings.discord_api_url)
    async with api, answers, asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
        outbox = Outbox(store)
        webhook = _watch_webhook(settings, lambda: None if gateway.not_ready() else tracker.guild_ids)
        follower = Follower(
            partial(Executions(api).describe, brief=True),
            outbox.put,
            tasks.create_task,
            waits_behind=outbox.waits_behind,
            polls_per_s=settings.polls_per_s or POLLS_PER_S,
            can_bury=lambda: outbox.can_bury,
        )
        dispatcher = Dispatcher(
            api.start if webhook is None else _admitted(webhook, api.start),
            outbox.put,
            tasks.create_task,
            signal=Signals(api).send,
            is_followed=is_followed if settings.polls_per_s else lambda _: False,
            follow=follower.follow,
            can_bury=lambda: outbox.can_bury,
        )
        occupancy = await asyncio.to_thread(store.load_occupancy)
        held = await asyncio.to_thread(store.load_held)
        tracker = Tracker(occupancy, UlidFactory(), file_lost_ms=database.lost_ms, on_skipped=log_skipped)
        intake = Intake(tracker, rules, outbox.put, held=held, elapsed=elapsed_clock)
        interactions = Interactions(answers, Signals(api).send, tasks.create_task)
        gateway = Gateway(
            intake,
            api_url=settings.discord_api_url,
            shard_ids=settings.shard_ids,
            shard_count=settings.shard_count,
            positions=await asyncio.to_thread(store.load_positions),
            on_interaction=interactions.take,
        )
        # What a session missed while it was not connected is still to come.
        people = People(lambda guild_id: tracker.find_watched(guild_id) if gateway.hears(guild_id) else None)
        worker = await stack.enter_async_context(_open_worker(settings, target, people, tasks.create_task))
        relay = Relay(
            settings,
            outbox,
            dispatcher,
            follower,
            intake,
            gateway,
            interactions,
            tasks,
            api.start,
            webhook,
            worker,
        )
        watch = tasks.create_task(webhook.run()) if webhook else None
        outbox.start(deliver=dispatcher.deliver, resync=intake.resync, positions=gateway.positions)
        alive = tasks.create_task(outbox.wait_broken())
        following = tasks.create_task(follower.run())
        try:
            yield relay
        finally:
            alive.cancel()
            await relay.close()
            following.cancel()
            if watch is not None:
                watch.cancel()


@asynccontextmanager
async def _open_worker(
    settings: Settings,
    target: Target,
    people: People,
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
) -> AsyncIterator[Worker | None]:
    """Yield the worker of the activity; ``None`` where no action is allowed."""
    arn = settings.activity_arn or target.activity_arn
    if not settings.actions or arn is None:
        yield None
        return
    url = target.states_url
    if url is None:
        url = await asyncio.to_thread(resolve_states_url, target.region, open_session=open_session)
    rest = Rest(settings.discord_api_url, settings.discord_token)
    async with rest, Activities(target, arn, url) as activities:
        performer = Performer(rest, people, settings.actions)
        log.info("actions_allowed", actions=settings.actions)
        yield Worker(activities, performer.perform, spawn)


def _watch_webhook(settings: Settings, guilds: Callable[[], Collection[str] | None]) -> WebhookWatch | None:
    """Return the watch of the webhook of single-machine mode; a stack has its webhooks in AWS."""
    url = settings.webhook_url
    if url is None or settings.api_endpoint is not None:
        return None
    # Other processes may have the webhook's guild among their shards.
    known = guilds if settings.shard_ids is None else None
    return WebhookWatch(lambda: ask_webhook(url), guilds=known)


def _admitted(webhook: WebhookWatch, start: Start) -> Start:
    """Return *start*, which sends nothing while Discord refuses the webhook."""

    async def start_admitted(workflow: str, name: str, body: bytes) -> str:
        await webhook.admit()
        return await start(workflow, name, body)

    return start_admitted


def _tune_garbage_collector() -> None:
    """Run the collector less often, and freeze the objects of the start.

    Events come and go by the thousand without a cycle among them, and the collector took an eighth of the
    time of a burst.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def check_start(settings: Settings) -> frozenset[str]:
    """Return the workflows that the rules name and that the relay's own stack does not have.

    Raises SettingsError or StoreError for rules or a data directory that ``run`` would refuse. For a start
    that takes long: ``run`` checks both again.
    """
    rules, _ = check_rules(settings)
    check_data_dir(settings.data_dir)
    return beside_relay(rules)


def _limits(settings: Settings) -> Limits:
    return Limits(
        batch_events=settings.batch_max_events,
        file_bytes=settings.outbox_max_bytes,
        event_age_ms=int(settings.max_event_age_s * 1000),
        receipt_age_ms=int(settings.receipts_kept_s * 1000),
    )


def _on_signal(number: int, stop: asyncio.Event) -> None:
    if stop.is_set():
        # A second signal exits at once: everything that matters is on disk, or was never acknowledged.
        os._exit(128 + number)
    log.info("signal_received", signal=signal.Signals(number).name)
    stop.set()


def _first(group: BaseExceptionGroup[RelayError]) -> RelayError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, RelayError):
        raise TypeError("not a group of relay errors")
    return error

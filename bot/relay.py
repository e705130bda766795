"""The relay at work: watches, says whether it is ready, and stops in order. ``bot.app`` builds it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack

import structlog

from bot.actions.worker import Worker
from bot.delivery.dispatcher import Dispatcher
from bot.delivery.follower import Follower
from bot.delivery.heartbeat import Heartbeat
from bot.delivery.webhook_watch import WebhookWatch
from bot.errors import SettingsError
from bot.gateway.client import Gateway
from bot.gateway.intake import Intake
from bot.gateway.interactions import Interactions
from bot.outbox.service import Outbox
from bot.outbox.work import Advanced
from bot.routing.rules import DEFAULT_RULES, Rules
from bot.routing.rules_file import load_rules
from bot.routing.targets import beside_relay, find_unknown, known_targets
from bot.settings.definitions import find_definitions
from bot.settings.needed_actions import find_missing_actions
from bot.settings.settings import Settings
from bot.telemetry.http import OpsServer

_WATCH_TICK_S = 5.0
_DEBOUNCE_TICK_S = 0.2

Start = Callable[[str, str, bytes], Awaitable[str]]

log = structlog.get_logger(__name__)


class Relay:
    """The parts at work. Made by ``open_relay`` of ``bot.app``."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        dispatcher: Dispatcher,
        follower: Follower,
        intake: Intake,
        gateway: Gateway,
        interactions: Interactions,
        tasks: asyncio.TaskGroup,
        start: Start,
        webhook: WebhookWatch | None,
        worker: Worker | None,
    ) -> None:
        self._webhook = webhook
        self._worker = worker
        self._settings = settings
        self._outbox = outbox
        self._dispatcher = dispatcher
        self._follower = follower
        self._intake = intake
        self._tasks = tasks
        self._reloading = asyncio.Lock()
        self._beside_relay = beside_relay(intake.rules)
        self._gateway = gateway
        self._interactions = interactions
        self._heartbeat = Heartbeat(
            start, every_s=settings.heartbeat_s, not_ready=self.not_ready, describe=self._describe
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Watch Discord until *stop* is set."""
        token = self._settings.discord_token.get_secret_value()
        async with AsyncExitStack() as stack:
            if self._settings.ops_port is not None:
                ops = OpsServer(
                    self._settings.ops_host,
                    self._settings.ops_port,
                    not_ready=self.not_ready,
                    metrics=self.metrics,
                )
                await stack.enter_async_context(ops)
                log.info("ops_listening", host=self._settings.ops_host, port=ops.port)
            watch = self._tasks.create_task(self._gateway.run(token))
            if self._worker is not None:
                self._worker.start()
            tick = self._tasks.create_task(self._keep_watch())
            release = self._tasks.create_task(self._release_held())
            beat = self._tasks.create_task(self._beat())
            try:
                await stop.wait()
                log.info("stopping", waiting=self._outbox.waiting, in_flight=self._dispatcher.in_flight)
            finally:
                if self._worker is not None:
                    self._worker.stop()
                # No heartbeat while the rest shuts down: it would say that all is well.
                await _end(beat)
                tick.cancel()
                release.cancel()
                await _end(watch)
                self._note_watched()
                await asyncio.wait([tick, release])

    def reload_rules(self) -> None:
        """Read the rules file again, soon; a wrong one is logged and changes nothing."""
        if self._settings.rules_file is None:
            log.info("rules_kept", reason="VOICE_RELAY_RULES_FILE is not set, so the built-in rules apply")
        else:
            self._tasks.create_task(self._reload_rules())

    async def _reload_rules(self) -> None:
        # One after the other, so that the last signal counts.
        async with self._reloading:
            try:
                rules = await asyncio.to_thread(read_rules, self._settings)
            except SettingsError as error:
                log.error(
                    "rules_kept", reason="the file is wrong, so the old rules apply", problems=error.problems
                )
                return
            if undeployed := self._find_undeployed(rules):
                log.error(
                    "rules_kept",
                    reason="single-machine mode deploys workflows when it starts: restart the relay",
                    workflows=undeployed,
                )
                return
            self._intake.rules = rules
            self._follower.forget_troubles()
            log.info("rules_reloaded", rules=len(rules.rules))

    def _find_undeployed(self, rules: Rules) -> list[str]:
        """Return the workflows in *rules* that this machine has not deployed; a stack may have them."""
        if self._settings.api_endpoint is not None:
            return []
        return sorted(beside_relay(rules) - self._beside_relay)

    async def close(self) -> None:
        """Start nothing new, finish or give up what is in flight, and put everything on disk."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._settings.shutdown_grace_s
        self._outbox.drain()
        # Side by side: all have the whole grace.
        grace_s = self._settings.shutdown_grace_s
        acting = self._worker.close(grace_s) if self._worker else _nothing()
        await asyncio.gather(self._dispatcher.close(grace_s), self._interactions.close(grace_s), acting)
        await self._follower.close(max(0.0, until_s - loop.time()))
        await self._outbox.close()

    def not_ready(self) -> list[str]:
        """Return why the relay is not ready; empty while it is."""
        reasons = self._gateway.not_ready()
        if self._worker is not None and self._worker.trouble is not None:
            reasons.append(self._worker.trouble)
        if self._outbox.failing is not None:
            reasons.append(self._outbox.failing)
        if self._webhook is not None and self._webhook.trouble is not None:
            reasons.append(self._webhook.trouble)
        else:
            reasons += filter(None, (self._dispatcher.trouble, self._follower.trouble))
        return reasons

    def metrics(self) -> dict[str, float]:
        beat = self._heartbeat
        return {
            "transitions_total": self._intake.transitions,
            "events_delivered_total": self._dispatcher.delivered + self._follower.delivered,
            "events_waiting": self._outbox.waiting,
            "events_held": self._intake.held,
            "commits_waiting": self._outbox.backlog,
            "batches_in_flight": self._dispatcher.in_flight,
            "executions_followed": self._follower.following,
            "posts_refused_total": self._follower.refused,
            "presses_total": self._interactions.presses,
            "presses_failed_total": self._interactions.failures,
            "shards_connected": self._gateway.connected_shards,
            "heartbeats_total": beat.beats,
            "heartbeats_failed_total": beat.failures,
            **self._count_actions(),
            **({"heartbeat_age_s": round(beat.age_s, 1)} if self._settings.heartbeat_s else {}),
        }

    def _count_actions(self) -> dict[str, float]:
        worker = self._worker
        if worker is None:
            return {}
        return {
            "actions_done_total": worker.done,
            "actions_refused_total": worker.refused,
            "actions_running": worker.running,
        }

    def _describe(self) -> dict[str, int]:
        """Return what a heartbeat tells."""
        return {
            "guilds": self._intake.watched_guilds,
            "shards": self._gateway.connected_shards,
            "waiting": self._outbox.waiting,
        }

    async def _beat(self) -> None:
        if self._settings.heartbeat_s:
            await self._heartbeat.run()

    async def _keep_watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_TICK_S)
            # A press in flight is then replayed to the next process, should this one be killed.
            self._note_watched(advance=not self._interactions.in_flight)

    async def _release_held(self) -> None:
        while True:
            await asyncio.sleep(_DEBOUNCE_TICK_S)
            # While the disk fails, held events may exist in memory only; the resync will bring them.
            if self._outbox.failing is None:
                self._intake.release()

    def _note_watched(self, *, advance: bool = True) -> None:
        if advance:
            self._outbox.put(Advanced(self._gateway.positions()))
        self._outbox.tick(self._gateway.watched_until())


async def _nothing() -> None:
    """Stand in for what is not there."""


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel *task*, and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])


def read_rules(settings: Settings) -> Rules:
    """Read the rules, and warn of names that lead nowhere and of actions that the bot would refuse.

    Raises SettingsError.
    """
    rules, doubts = check_rules(settings)
    for text in doubts:
        log.warning("rule_leads_nowhere", problem=text)
    own = find_definitions(settings.workflows_dir) if settings.api_endpoint is None else {}
    for text in find_missing_actions(beside_relay(rules), own, settings.actions):
        log.warning("actions_missing", problem=text)
    return rules


def check_rules(settings: Settings) -> tuple[Rules, list[str]]:
    """Return the rules, and a sentence for each name in them that may lead nowhere.

    Raises SettingsError where that is certain.
    """
    targets = known_targets(
        single_machine=settings.api_endpoint is None,
        workflows=_own_workflows(settings),
        destinations=settings.destinations,
    )
    rules = DEFAULT_RULES if settings.rules_file is None else load_rules(settings.rules_file, targets)
    return rules, find_unknown(rules, targets)


def _own_workflows(settings: Settings) -> Collection[str]:
    return find_definitions(settings.workflows_dir) if settings.api_endpoint is None else settings.workflows

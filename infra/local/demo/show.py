"""Runs the demo: starts everything, plays the evening, waits for the last message, draws up the account."""

import asyncio
import contextlib
import datetime as dt
import re
import tempfile
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import botocore.exceptions
import pydantic

from bot.errors import RelayError, StartupError
from infra.deploy.engine import DEFAULT_STACK_NAME, TEMPLATE, StackEvent
from infra.deploy.template import build_template
from infra.deploy.workflow_stack import load_workflow
from infra.local.demo.account import Account, Evening, draw_up
from infra.local.demo.acts import Acts
from infra.local.demo.evening import Players, Scene, set_scene
from infra.local.demo.executions import Executions
from infra.local.demo.relay import RelayProcess, build_environment, name_command, running_relay
from infra.local.demo.screen import Screen, Starting, open_console
from infra.local.discord import StandIn, Webhook
from infra.local.faulty_proxy import FaultyProxy
from infra.local.machine import SingleMachine, single_machine

_TOKEN = "stand-in.demo.token"  # noqa: S105  # opens nothing but the stand-in
_SENDER = "Voice Relay"
_CONNECT_TIMEOUT_S = 30.0
# Generous: Discord's rate limit spreads a burst's messages over some seconds.
_DELIVERY_TIMEOUT_S = 60.0
_LONGEST_SILENCE_S = 600.0
_STACK = "AWS::CloudFormation::Stack"
# The stand-in, the embedded AWS, the stack, the bot, its connection; the stack's resources come on top.
_STEPS = 5
_RESOURCE = re.compile(r"^ {2,4}Type: AWS::", re.MULTILINE)

_T = TypeVar("_T")


async def play(*, plain: bool, pace: float = 1.0) -> int:
    """Play the demo and return the exit code; *pace* stretches the pauses of the evening, 0 has none."""
    began = time.monotonic()
    discord = StandIn(token=_TOKEN)
    tz = dt.datetime.now(dt.UTC).astimezone().tzinfo or dt.UTC
    screen = Screen(open_console(plain=plain), discord.world, tz)
    show = _Show(discord, set_scene(discord.world), screen)
    try:
        account = await show.put_on(pace)
    except (RelayError, TimeoutError, botocore.exceptions.BotoCoreError) as error:
        screen.failure(show.doing, str(error))
    else:
        screen.account(account, took_s=time.monotonic() - began)
        if account.balanced:
            screen.next_step(name_command())
            return 0
    if show.log:
        screen.log(show.log, _keep(show.log))
    return 1


class _Show:
    """One run. ``doing`` says what is under way, in case it fails."""

    def __init__(self, discord: StandIn, scene: Scene, screen: Screen) -> None:
        self._discord = discord
        self._scene = scene
        self._screen = screen
        self._relay: RelayProcess | None = None
        self._shown = 0
        self._shown_of_staff = 0
        self.doing = "starting"

    @property
    def log(self) -> str:
        """The bot's log, once it has stopped."""
        return self._relay.log if self._relay else ""

    async def put_on(self, pace: float) -> Account:
        async with AsyncExitStack() as stack:
            webhook, machine, proxy, relay = await self._start(stack)
            self._screen.title(self._scene.text_channel.name, self._scene.guild.name)
            players = Players(self._scene, self._screen.narrate, pace=pace)
            states = machine.aws.client("stepfunctions")
            executions = Executions(states, machine.outputs["NotifyStateMachineArn"])
            acts = Acts(self._discord, webhook, proxy, relay, executions, players, self._screen.trouble)
            await _guarded(self._perform(acts), relay.watch(), self._follow(webhook), self._follow_staff())
            self._show_new(webhook)
            self.doing = "stopping the bot"
            # From here on nothing changes.
            if code := await relay.stop():
                raise StartupError(f"voice-relay run ended with exit code {code}")
            self.doing = "reading the executions back"
            evening = Evening(self._scene.guild.id, list(self._discord.sent), acts.stretches, acts.burst)
            ended = await asyncio.to_thread(executions.read)
            return draw_up(evening, ended, webhook.messages, slow_downs=webhook.answers[429])

    async def _start(self, stack: AsyncExitStack) -> tuple[Webhook, SingleMachine, FaultyProxy, RelayProcess]:
        """Start everything in the order of its needs; *stack* stops it in reverse order."""
        admit = load_workflow("admit")
        resources = sum(
            len(_RESOURCE.findall(each)) for each in (build_template(TEMPLATE), admit.template().body)
        )
        with self._screen.starting(_STEPS + resources) as starting:
            self._begin("starting the stand-in for Discord", starting)
            await stack.enter_async_context(self._discord)
            webhook = self._discord.add_webhook(_SENDER, self._scene.text_channel)
            starting.done("Discord stand-in: gateway, REST API, webhook")

            self._begin("starting the embedded AWS", starting)
            machine = await stack.enter_async_context(
                single_machine(
                    webhook_url=pydantic.SecretStr(webhook.url),
                    on_event=lambda event: self._on_stack_event(event, starting),
                    parameters={"Actions": "true"},
                    workflows=[admit],
                )
            )
            starting.done(
                f"Stacks {DEFAULT_STACK_NAME} and {admit.name}: {resources} resources, and a user for the bot"
            )

            self._begin("starting voice-relay run", starting)
            proxy = await stack.enter_async_context(FaultyProxy(machine.api_endpoint))
            environment = build_environment(
                machine, token=_TOKEN, discord_api_url=self._discord.api_url, api_endpoint=proxy.url
            )
            self._relay = relay = await stack.enter_async_context(running_relay(environment))
            starting.done("Bot: voice-relay run, in a process of its own")

            self._begin("waiting for the bot to connect", starting)
            await _guarded(self._discord.wait_connected(_CONNECT_TIMEOUT_S), relay.watch())
            starting.done("Connected to the gateway")
        return webhook, machine, proxy, relay

    def _begin(self, what: str, starting: Starting) -> None:
        self.doing = what
        starting.doing(what)

    def _on_stack_event(self, event: StackEvent, starting: Starting) -> None:
        """Show a step of the deployment; called from another thread."""
        if event.resource_type == _STACK:
            if event.status == "CREATE_IN_PROGRESS" and event.logical_id == DEFAULT_STACK_NAME:
                starting.done("Embedded AWS: checks every signature and every policy")
            return
        self._begin(f"creating {event.logical_id}", starting)
        if event.status == "CREATE_COMPLETE":
            starting.advance()

    async def _perform(self, acts: Acts) -> None:
        """Play the evening and wait for its last message."""
        self.doing = "playing the evening"
        await acts.play()
        self._screen.narrate("The others stay. The channel catches up: Discord takes 5 messages in 2 seconds")
        self.doing = "waiting for the last messages"
        # The account reports what does not arrive in time as lost.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DELIVERY_TIMEOUT_S):
                await acts.wait_delivered()
                await acts.wait_posted()

    async def _follow(self, webhook: Webhook) -> None:
        """Show messages as they come, until cancelled."""
        while True:
            self._show_new(webhook)
            await self._discord.wait_until(
                lambda: len(webhook.messages) > self._shown, _LONGEST_SILENCE_S, "the next message"
            )

    async def _follow_staff(self) -> None:
        """Show what the bot writes to staff, and how it edits that, until cancelled."""
        staff = self._scene.staff_channel
        while True:
            said = [
                (message, body, number)
                for message in self._discord.chat.messages(staff)
                for number, body in enumerate(message.versions)
            ]
            for message, body, number in said[self._shown_of_staff :]:
                sender = f"#{staff.name} · {_SENDER}{' (edited)' if number else ''}"
                self._screen.message(sender, body, message.edited_at or message.at)
            self._shown_of_staff = len(said)
            await self._discord.wait_until(
                lambda: (
                    sum(len(each.versions) for each in self._discord.chat.messages(staff))
                    > self._shown_of_staff
                ),
                _LONGEST_SILENCE_S,
                "the next card",
            )

    def _show_new(self, webhook: Webhook) -> None:
        for message in webhook.messages[self._shown :]:
            self._screen.message(_SENDER, message.body, message.received_at)
        self._shown = len(webhook.messages)


async def _guarded(work: Coroutine[Any, Any, _T], *guards: Coroutine[Any, Any, None]) -> _T:
    """Return what *work* returns; a guard never ends, but raises if something goes wrong."""
    task = asyncio.ensure_future(work)
    watchers = [asyncio.ensure_future(guard) for guard in guards]
    try:
        await asyncio.wait([task, *watchers], return_when=asyncio.FIRST_COMPLETED)
        for watcher in watchers:
            if watcher.done():
                watcher.result()
        return await task
    finally:
        for each in (task, *watchers):
            each.cancel()
        await asyncio.gather(task, *watchers, return_exceptions=True)


def _keep(log: str) -> str:
    """Write the bot's log to a file that stays, and return its path."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="voice-relay-demo-", suffix=".log", delete=False
    ) as file:
        file.write(log)
    return file.name

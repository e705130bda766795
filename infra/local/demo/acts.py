"""The course of the evening: what people do, and what goes wrong meanwhile."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from infra.local.audit import Stretch, parse_event, parse_transition
from infra.local.demo import evening
from infra.local.demo.evening import Players
from infra.local.demo.executions import Executions
from infra.local.demo.relay import RelayProcess
from infra.local.discord import StandIn, Webhook
from infra.local.faulty_proxy import FaultyProxy

# Generous: the machine may be busy, and the bot's backoff grows with every failed attempt.
_TIMEOUT_S = 45.0
_POLL_S = 0.05
_THROTTLED = 6
_RETRY_AFTER_S = 1.0
# As long as it takes to read a line.
_READING_S = 1.0


@dataclass
class Acts:
    """The acts in order; *say* tells the audience what breaks and what to look for.

    ``stretches`` are those in which the bot was blind, ``burst`` the places of the burst's transitions. An
    act raises TimeoutError if its fault does not happen, or if the bot does not recover from it.
    """

    discord: StandIn
    webhook: Webhook
    proxy: FaultyProxy
    relay: RelayProcess
    executions: Executions
    players: Players
    say: Callable[[str], None]
    stretches: list[Stretch] = field(default_factory=list)
    burst: range = range(0)

    async def play(self) -> None:
        await self.players.play(evening.OPENING)
        await self._admit_a_guest()
        await self._lose_an_answer()
        await self._take_the_api_down()
        await self._lose_the_session()
        await self._throttle()
        await self._take_the_guild_down()
        await self._kill_the_bot()
        await self.players.play(evening.FAREWELL)

    async def _admit_a_guest(self) -> None:
        """Let a moderator decide about somebody who waits, and wait for the move and the card's end."""
        staff, moderator = self.players.scene.staff_channel, self.players.scene.members[evening.MODERATOR]
        await self._tell(f"🚪 A waiting room: staff decide who is let in. Watch #{staff.name}")
        await self.players.play(evening.KNOCK)
        await self._wait_until(lambda: bool(self.discord.chat.messages(staff)), "the card")
        (card,) = self.discord.chat.messages(staff)
        await self.players.pause(_READING_S)
        self.players.narrate(f"{evening.MODERATOR} presses Admit")
        press = await self.discord.press(moderator, card, "Admit", _TIMEOUT_S)
        self.players.narrate(f"Only {evening.MODERATOR} sees: {press.shown}")
        await self._wait_until(lambda: not card.buttons, "the card's end")
        self.players.count_one()
        await self._tell("… the card says how it ended. The move by the bot is told like any other")

    async def _wait_until(self, predicate: Callable[[], bool], what: str) -> None:
        await self.discord.wait_until(predicate, _TIMEOUT_S, what)

    async def _lose_an_answer(self) -> None:
        await self._tell("⚡ The API's next response is lost. Watch for duplicates")
        lost = self.proxy.lost
        self.proxy.lose_next_answer()
        await self.players.play(evening.ONE_MORE)
        await self.proxy.wait_for_loss(lost + 1, _TIMEOUT_S)
        await self.proxy.wait_for_answers(self.proxy.answers_at_loss + 1, _TIMEOUT_S)
        await self._tell("… the bot retried with the same name: one execution, one message")

    async def _take_the_api_down(self) -> None:
        await self._tell("⚡ The API is down. New events wait on disk")
        refused = self.proxy.refused
        self.proxy.begin_outage()
        await self.players.play(evening.API_DOWN)
        self.burst = await self.players.burst()
        await self.proxy.wait_for_refusals(refused + 2, _TIMEOUT_S)
        self.proxy.end_outage()
        await self._tell("… the API is back. The backlog arrives, in order and with nothing missing")

    async def _lose_the_session(self) -> None:
        """Some seconds pass before the bot identifies again; the backlog is delivered meanwhile."""
        await self._tell("⚡ Discord disconnects and refuses to resume: the bot misses what happens now")
        began = await self._catch_up()
        answered, refused = self.proxy.answers, self._count("resume_refused")
        await self.discord.faults.expire_sessions()
        await self.discord.faults.drop()
        await self.players.play(evening.UNHEARD)
        await self.discord.wait_until(
            lambda: self._count("resume_refused") > refused, _TIMEOUT_S, "the bot resuming"
        )
        await self._end_stretch("session_lost", began)
        await self.proxy.wait_for_answers(answered + 1, _TIMEOUT_S)
        await self._tell("… a new session. Note the gap, and the events inferred after it")

    async def _throttle(self) -> None:
        """What happens from here on waits behind the message that Discord throttles."""
        self.webhook.throttle_next(_THROTTLED, _RETRY_AFTER_S)
        await self._tell(f"⚡ Discord throttles: the next {_THROTTLED} posts get a 429. Watch the order")

    async def _take_the_guild_down(self) -> None:
        await self._tell("⚡ The server goes offline: a Discord outage")
        began = await self._catch_up()
        await self.players.scene.guild.begin_outage()
        await self._catch_up()
        await self.players.play(evening.GUILD_DOWN)
        await self.players.scene.guild.end_outage()
        await self._end_stretch("guild_unavailable", began)
        await self.players.play(evening.ALL_IS_WELL)
        await self._tell("… it is back: another gap, with the changes found after it")

    async def _kill_the_bot(self) -> None:
        await self._tell("⚡ kill -9 on the bot, mid-flight")
        # Only what is on disk outlives a kill.
        await self.wait_delivered()
        await self.players.play(evening.AT_THE_KILL)
        self.relay.kill()
        await self.discord.wait_disconnected(_TIMEOUT_S)
        await self.players.play(evening.BOT_DOWN)
        self.say("… a new process takes over its data, and its session with Discord")
        self.relay.start_again()
        await self._catch_up()
        await self._tell("… Discord replays what the bot missed: no gap, each event once")

    async def _tell(self, text: str) -> None:
        self.say(text)
        await self.players.pause(_READING_S)

    async def wait_delivered(self) -> None:
        """Wait until the workflow has received the latest transition, which must be unlike all before it.

        The events of a guild are delivered in order: everything before it is there too.
        """
        last = parse_transition(self.discord.sent[-1])
        async with asyncio.timeout(_TIMEOUT_S):
            while True:
                events = await asyncio.to_thread(self.executions.read_events)
                if any(parse_event(event) == last for event in events):
                    return
                await asyncio.sleep(_POLL_S)

    async def wait_posted(self) -> None:
        """Wait until no execution runs, so that everything delivered has been posted."""
        while True:
            if not await asyncio.to_thread(self.executions.any_running):
                return
            await asyncio.sleep(_POLL_S)

    async def _end_stretch(self, reason: str, began: int) -> None:
        self.stretches.append(Stretch(reason, began, await self._catch_up()))

    async def _catch_up(self) -> int:
        """Wait until the bot has taken all that it was sent; return how many transitions that makes.

        It answers a request for a heartbeat only after the frames before it.
        """
        await self.discord.wait_connected(_TIMEOUT_S)
        heard = self._count("heartbeat")
        await self.discord.faults.request_heartbeat()
        await self.discord.wait_until(
            lambda: self._count("heartbeat") > heard, _TIMEOUT_S, "the bot's heartbeat"
        )
        return self.players.sent

    def _count(self, what: str) -> int:
        return self.discord.counts.get(what, 0)

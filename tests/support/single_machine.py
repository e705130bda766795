"""An evening on one machine: people come and go, Discord throttles the webhook, the relay is killed.

The programs are the real ones, of which the channel of the stand-in for Discord shows what they did.
"""

import asyncio
import os
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from infra.local.audit import Comparison, Fact, compare, parse_message, parse_transition
from infra.local.discord import PostedMessage, StandIn, Webhook
from tests.support.crowd import add_guilds, wander
from tests.support.process import Child, start_relay
from tests.support.process_tree import find_descendants

End = Literal["kill", "stop"]

_SAMPLE_S = 5.0
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """How things were at one moment; memory is what is resident, ``None`` while the process starts."""

    at_s: float
    happened: int
    told: int
    messages: int
    relay_bytes: int | None
    aws_bytes: int | None


@dataclass
class Played:
    """What came of it. ``late_s`` is how long after the last event the channel had everything."""

    comparison: Comparison
    messages: int
    repeated: int
    gaps: int
    late_s: float
    stopped_s: float
    samples: list[Sample] = field(default_factory=list)


class Evening:
    """People of some *guilds* who do *per_s* things a second in all, told through one webhook."""

    def __init__(self, directory: Path, standin: StandIn, *, guilds: int, per_s: float, seed: int) -> None:
        self._directory = directory
        self._standin = standin
        self._per_s = per_s
        self._dice = random.Random(seed)
        self._guilds = add_guilds(standin, guilds, people=20)
        self._home = {member: guild.id for guild in self._guilds for member in guild.members}
        self.webhook: Webhook = standin.add_webhook("voice", self._guilds[0].add_text_channel("chat"))
        self._relay: Child | None = None
        self._began_s = time.monotonic()
        self._samples: list[Sample] = []
        self._say: Callable[[Sample], None] = lambda _: None

    async def play(
        self,
        duration_s: float,
        *,
        ends: Mapping[float, End],
        say: Callable[[Sample], None] | None = None,
    ) -> Played:
        """Play for so long; end the relay at the moments of *ends*, and start it again.

        Every sample is told to *say*.
        """
        self._say = say or self._say
        async with AsyncExitStack() as stack:
            await self._start(stack)
            await self._standin.wait_connected(30)
            self._began_s = time.monotonic()
            sampling = asyncio.create_task(self._sample())
            acting = asyncio.create_task(self._act(duration_s))
            for end_s, end in sorted(ends.items()):
                await asyncio.sleep(self._began_s + end_s - time.monotonic())
                await (self._kill() if end == "kill" else self._stop())
                await self._start(stack)
            await acting
            late_s = await self._wait_told()
            sampling.cancel()
            return self._draw_up(late_s, await self._stop())

    async def _start(self, stack: AsyncExitStack) -> None:
        self._relay = await stack.enter_async_context(
            start_relay(
                self._directory,
                discord_api_url=self._standin.api_url,
                token=self._standin.token,
                credentials={},
                settings={"WEBHOOK_URL": self.webhook.url},
            )
        )

    async def _kill(self) -> None:
        assert self._relay is not None
        self._relay.kill()
        assert await self._relay.wait() == -9

    async def _stop(self) -> float:
        assert self._relay is not None
        began_s = time.monotonic()
        self._relay.terminate()
        assert await self._relay.wait() == 0
        return time.monotonic() - began_s

    async def _act(self, duration_s: float) -> None:
        for step in range(int(duration_s * self._per_s)):
            await asyncio.sleep(self._began_s + step / self._per_s - time.monotonic())
            await wander(self._dice.choice(self._guilds), 1, self._dice, switches=False)

    async def _wait_told(self) -> float:
        """Wait until the channel has everything or the patience ends, and return how long it took."""
        began_s, expected = time.monotonic(), len(self._standin.sent)
        with suppress(TimeoutError):
            await self._standin.wait_for_messages(lambda _: self._told >= expected, _PATIENCE_S)
        return time.monotonic() - began_s

    @property
    def _told(self) -> int:
        return sum(len(list(parse_message(message.body))) for message in self._distinct()[0])

    def _distinct(self) -> tuple[list[PostedMessage], int]:
        """Return the messages without those that repeat an earlier one, and the number of the others."""
        seen: dict[str, PostedMessage] = {}
        for message in self.webhook.messages:
            seen.setdefault(repr(message.body), message)
        return list(seen.values()), len(self.webhook.messages) - len(seen)

    def _draw_up(self, late_s: float, stopped_s: float) -> Played:
        expected = [self._place(parse_transition(each).as_told_in_channel()) for each in self._standin.sent]
        distinct, repeated = self._distinct()
        found = [self._place(fact) for message in distinct for fact in parse_message(message.body)]
        return Played(
            comparison=compare(expected, found),
            messages=len(self.webhook.messages),
            repeated=repeated,
            gaps=sum(fact.gap_reason is not None for fact in found),
            late_s=late_s,
            stopped_s=stopped_s,
            samples=self._samples,
        )

    def _place(self, fact: Fact) -> Fact:
        """Return *fact* with its guild: the channel does not tell, and the order holds for each by itself."""
        return fact._replace(guild_id=self._home.get(fact.user_id, ""))

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(_SAMPLE_S)
            relay, aws = self._resident()
            sample = Sample(
                at_s=time.monotonic() - self._began_s,
                happened=len(self._standin.sent),
                told=self._told,
                messages=len(self.webhook.messages),
                relay_bytes=relay,
                aws_bytes=aws,
            )
            self._samples.append(sample)
            self._say(sample)

    def _resident(self) -> tuple[int | None, int | None]:
        """Return the memory of the relay and of its embedded AWS."""
        assert self._relay is not None
        pid = self._relay.pid
        children = find_descendants(pid)
        return _resident_bytes(pid), _resident_bytes(min(children)) if children else None


def _resident_bytes(pid: int) -> int | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")

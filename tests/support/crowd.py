"""People in the stand-in's guilds, who come and go at random; and whether all of it was told."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from infra.local.audit import Audit, Life, audit
from infra.local.discord import Channel, Guild, Member, StandIn
from tests.support.ledger import Ledger

EVERYTHING = "[[rule]]\n"
"""A rules file that forwards every event, also those that the built-in rules leave out."""

UNFOLLOWED = '[[rule]]\nworkflow = "archive"\n'
"""The same, to a workflow that does not post: nothing waits for the ends of its executions."""

# A frame may be under way for long on a busy machine.
_LAG_S = 5.0


def add_guilds(standin: StandIn, count: int, *, people: int = 10, channels: int = 3) -> list[Guild]:
    guilds = []
    for number in range(count):
        guild = standin.world.add_guild(f"Guild {number}")
        for place in range(channels):
            guild.add_voice_channel(f"Channel {place}")
        for place in range(people):
            guild.add_member(f"user{number}x{place}")
        guilds.append(guild)
    return guilds


def people_of(guild: Guild) -> list[Member]:
    """Return the members that are no bots."""
    return [member for member in guild.members.values() if not member.user.bot]


def first_channel(guild: Guild) -> Channel:
    return next(iter(guild.channels.values()))


async def join_one(guild: Guild) -> None:
    """Let somebody who is in no channel join the first one."""
    member = next(member for member in people_of(guild) if member.id not in guild.voice_states)
    await guild.join(member, first_channel(guild))


async def wander(guild: Guild, steps: int, dice: random.Random, *, switches: bool = True) -> None:
    """Let the people of *guild* take *steps* in all: come, go, change channel and, with *switches*, mute."""
    people = people_of(guild)
    channels = [channel for channel in guild.channels.values() if channel.type.has_voice]
    for _ in range(steps):
        member = dice.choice(people)
        state = guild.voice_states.get(member.id)
        if state is None:
            await guild.join(member, dice.choice(channels), self_mute=dice.random() < 0.2)
        elif (number := dice.random()) < 0.3:
            await guild.leave(member)
        elif switches and number < 0.6:
            muted, streaming = state.flags.name is None, dice.random() < 0.5
            await guild.update(member, self_mute=muted, self_deaf=not muted, self_stream=streaming)
        else:
            others = [channel for channel in channels if channel is not state.channel]
            await guild.move(member, dice.choice(others), self_video=number > 0.9)


async def wander_all(guilds: Sequence[Guild], steps: int, dice: random.Random) -> None:
    """Let the people of all *guilds* take so many *steps* each, side by side."""
    own = [random.Random(dice.random()) for _ in guilds]
    await asyncio.gather(*(wander(guild, steps, die) for guild, die in zip(guilds, own, strict=True)))


async def join_last(guilds: Sequence[Guild], api: Ledger) -> None:
    """Let somebody new join in each guild, and wait for it to be told: all before it has been then."""
    late = [guild.add_member("late") for guild in guilds]
    for guild, member in zip(guilds, late, strict=True):
        await guild.join(member, first_channel(guild))
    last = {f"users/{member.id}".encode() for member in late}
    await api.wait_until(lambda: all(any(one in body for body in api.executions.values()) for one in last))


class Lives(list[Life]):
    """When each process lived."""

    @asynccontextmanager
    async def another(self) -> AsyncIterator[None]:
        """The block is a life."""
        began_ms = time.time_ns() // 1_000_000
        try:
            yield
        finally:
            self.append(Life(began_ms, time.time_ns() // 1_000_000))


def check_told(
    standin: StandIn, api: Ledger, lives: Sequence[Life] = (), *, open_gaps: bool = False
) -> Audit:
    """Return the audit of all that happened against all that *api* accepted; it must be exact.

    A gap that the relay declared is believed, and where no *lives* are given, it is not to declare any.
    """
    api.check()
    found = audit(
        list(standin.sent),
        api.events(),
        stretches=None if lives else [],
        lives=lives,
        lag_s=_LAG_S,
        open_gaps=open_gaps,
        resumed=standin.counts.get("resumed", 0) > 0,
    )
    assert found.exact, "\n".join(found.faults)
    return found

"""What happens in the stand-in's guilds during a measurement; the same for every bot."""

import asyncio
import random
import time
from dataclasses import dataclass

from infra.local.discord import Channel, Flag, Guild, Member, StandIn

_ROLES = 10


@dataclass(frozen=True, slots=True)
class Place:
    """A guild with voice channels and the people who come and go there."""

    guild: Guild
    channels: list[Channel]
    people: list[Member]


def furnish(discord: StandIn, *, guilds: int, channels: int, people: int) -> list[Place]:
    """Add guilds of that size, half of their channels text, with nobody in voice."""
    places = []
    for number in range(guilds):
        guild = discord.world.add_guild(f"Guild {number}")
        for name in range(_ROLES):
            guild.add_role(f"role {name}")
        for name in range(channels // 2):
            guild.add_text_channel(f"text {name}")
        voice = [guild.add_voice_channel(f"voice {name}") for name in range(channels - channels // 2)]
        members = [guild.add_member(f"user-{number}-{name}", f"Person {name}") for name in range(people)]
        places.append(Place(guild, voice, members))
    return places


async def seat(places: list[Place], people: int) -> None:
    """Put the first *people* of each guild into its first channel."""
    for place in places:
        for member in place.people[:people]:
            await place.guild.join(member, place.channels[0])


async def wander(places: list[Place], transitions: int, *, seed: int) -> None:
    """Let people join, move, mute and leave, as fast as the clients read; each step is a transition."""
    dice = random.Random(seed)
    for step in range(transitions):
        place = places[step % len(places)]
        await _step(place, place.people[int(dice.random() * len(place.people))], dice)


async def _step(place: Place, member: Member, dice: random.Random) -> None:
    guild = place.guild
    state = guild.voice_states.get(member.id)
    if state is None:
        await guild.join(member, place.channels[int(dice.random() * len(place.channels))])
        return
    what = dice.random()
    if what < 0.25:
        await guild.leave(member)
    elif what < 0.5:
        await guild.update(member, self_mute=not state.flags & Flag.SELF_MUTE)
    else:
        here = place.channels.index(state.channel)
        away = int(dice.random() * (len(place.channels) - 1)) + 1
        await guild.move(member, place.channels[(here + away) % len(place.channels)])


Call = tuple[str, str]
"""The user and the kind of a transition; each occurs once in ``visit``."""


async def visit(places: list[Place], *, per_second: float, seed: int) -> dict[Call, float]:
    """Let each person join, move and leave once, at random times; return when each frame was handed over.

    The times between two transitions are exponential, as for people who do not wait for each other.
    """
    dice = random.Random(seed)
    sent: dict[Call, float] = {}
    due = time.perf_counter()
    for number in range(max(len(place.people) for place in places)):
        visitors = [(place, place.people[number]) for place in places if number < len(place.people)]
        for kind in ("joined", "moved", "left"):
            for place, member in visitors:
                due += dice.expovariate(per_second)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                sent[member.id, kind] = time.perf_counter()
                match kind:
                    case "joined":
                        await place.guild.join(member, place.channels[0])
                    case "moved":
                        await place.guild.move(member, place.channels[1])
                    case _:
                        await place.guild.leave(member)
    return sent

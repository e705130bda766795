"""What happened, as the stand-in's own log has it and as the relay tells it, in the same terms."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from infra.local.discord import Channel, Guild, StandIn, Transition

PREFIX = "discord.voice."
EVERYTHING = "[[rule]]\n"
"""A rules file that forwards every event, also those that the built-in rules leave out."""

Event = Mapping[str, Any]


class Account(NamedTuple):
    """One transition; ``occupants`` counts the people in the channel, or in the one that was left."""

    kind: str
    guild_id: str
    user_id: str
    channel_id: str | None
    previous_channel_id: str | None
    changes: dict[str, bool]
    occupants: int


def read_account(event: Event) -> Account:
    """Return what *event* says; a gap has no account."""
    data = event["data"]
    return Account(
        event["type"].removeprefix(PREFIX),
        data["guild"]["id"],
        data["user"]["id"],
        data["channel"] and data["channel"]["id"],
        data["previous_channel"] and data["previous_channel"]["id"],
        dict(data["changes"]),
        data["occupants"],
    )


def true_accounts(transitions: Iterable[Transition]) -> list[Account]:
    """Return what there is to tell of *transitions*, which are all that ever happened."""
    people: Counter[str] = Counter()
    accounts = []
    for happened in transitions:
        if happened.kind == "joined":
            people[happened.channel_id or ""] += 1
        elif happened.kind == "moved":
            people[happened.channel_id or ""] += 1
            people[happened.previous_channel_id or ""] -= 1
        elif happened.kind == "left":
            people[happened.previous_channel_id or ""] -= 1
        counted = happened.channel_id or happened.previous_channel_id or ""
        changes = dict(happened.changes) if happened.kind in ("moved", "updated") else {}
        accounts.append(Account(*happened[:5], changes, people[counted]))
    return accounts


def replay(events: Iterable[Event]) -> dict[str, str]:
    """Return who ends up where; every event must go on where the one before it left its person."""
    places: dict[str, str] = {}
    for event in events:
        if event["type"] == PREFIX + "gap":
            continue
        told = read_account(event)
        before = places.get(told.user_id)
        match told.kind:
            case "joined":
                assert before is None, f"joined, but was in {before}: {event}"
            case "moved" | "left":
                assert before == told.previous_channel_id, f"{told.kind}, but was in {before}: {event}"
            case "updated":
                assert before == told.channel_id, f"updated, but was in {before}: {event}"
        if told.channel_id is None:
            del places[told.user_id]
        else:
            places[told.user_id] = told.channel_id
    return places


def true_places(guilds: Iterable[Guild]) -> dict[str, str]:
    return {user: state.channel.id for guild in guilds for user, state in guild.voice_states.items()}


def is_subsequence(part: Sequence[Any], whole: Sequence[Any]) -> bool:
    """Tell whether *part* is *whole* with some left out, in its order."""
    rest = iter(whole)
    return all(any(one == other for other in rest) for one in part)


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


async def wander(guild: Guild, steps: int, chance: random.Random, *, switches: bool = True) -> None:
    """Let the people of *guild* take *steps* in all: come, go, change channel and, with *switches*, mute."""
    people = [member for member in guild.members.values() if not member.user.bot]
    channels = [channel for channel in guild.channels.values() if channel.type.has_voice]
    for _ in range(steps):
        member = chance.choice(people)
        state = guild.voice_states.get(member.id)
        if state is None:
            await guild.join(member, chance.choice(channels), self_mute=chance.random() < 0.2)
        elif (dice := chance.random()) < 0.3:
            await guild.leave(member)
        elif switches and dice < 0.6:
            muted, streaming = state.flags.name is None, chance.random() < 0.5
            await guild.update(member, self_mute=muted, self_deaf=not muted, self_stream=streaming)
        else:
            await guild.move(member, _another(channels, state.channel, chance), self_video=dice > 0.9)


def _another(channels: Sequence[Channel], but: Channel, chance: random.Random) -> Channel:
    return chance.choice([channel for channel in channels if channel is not but])

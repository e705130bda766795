"""The evening that is played: who is there, and what they do."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from infra.local.standin import Channel, Flag, Guild, Member, World

BURST = 200
_BURST_S = 0.5
_BURST_TICKS = 20

Narrate = Callable[[str], None]


class Verb(NamedTuple):
    operation: Literal["join", "move", "update", "leave"]
    flags: Mapping[str, bool] = {}


_VERBS = {
    "joins": Verb("join"),
    "takes a seat at": Verb("join", {"suppress": True}),
    "moves to": Verb("move"),
    "leaves": Verb("leave"),
    "mutes": Verb("update", {"self_mute": True}),
    "unmutes": Verb("update", {"self_mute": False}),
    "deafens": Verb("update", {"self_mute": True, "self_deaf": True}),
    "undeafens": Verb("update", {"self_mute": False, "self_deaf": False}),
    "starts streaming": Verb("update", {"self_stream": True}),
    "stops streaming": Verb("update", {"self_stream": False}),
    "turns the camera on": Verb("update", {"self_video": True}),
    "turns the camera off": Verb("update", {"self_video": False}),
    "is muted by a moderator": Verb("update", {"mute": True}),
    "is unmuted by a moderator": Verb("update", {"mute": False}),
    "is invited to speak": Verb("update", {"suppress": False}),
}

# A name that would be bold and wake everybody, were it ever read as markup.
_HOSTILE = "@everyone **bold**"
_MEMBERS = ("Nelly", "Moss", "Kite", "Wren", "Pip", "Otto", "Fern", "Juno", "Dot", "Sable", "Rook", _HOSTILE)


class Beat(NamedTuple):
    who: str
    does: str
    where: str = ""


_SCRIPT = (
    Beat("Nelly", "joins", "General"),
    Beat("Moss", "joins", "General"),
    Beat("Nelly", "mutes"),
    Beat("Kite", "joins", "Music"),
    Beat(_HOSTILE, "joins", "General"),
    Beat("Moss", "starts streaming"),
    Beat("Wren", "joins", "General"),
    Beat("Nelly", "unmutes"),
    Beat("Kite", "deafens"),
    Beat("Pip", "joins", "Music"),
    Beat("Wren", "turns the camera on"),
    Beat(_HOSTILE, "is muted by a moderator"),
    Beat("Otto", "joins", "General"),
    Beat("Pip", "moves to", "General"),
    Beat("Moss", "stops streaming"),
    Beat("Juno", "takes a seat at", "Open mic"),
    Beat("Juno", "is invited to speak"),
    Beat("Dot", "takes a seat at", "Open mic"),
    Beat("Kite", "undeafens"),
    Beat("Fern", "joins", "Music"),
    Beat(_HOSTILE, "is unmuted by a moderator"),
    Beat("Wren", "turns the camera off"),
    Beat("Otto", "leaves"),
    Beat(_HOSTILE, "leaves"),
    Beat("Sable", "joins", "Music"),
    Beat("Nelly", "moves to", "Music"),
    Beat("Dot", "moves to", "General"),
    Beat("Juno", "leaves"),
    Beat("Rook", "joins", "General"),
    Beat("Moss", "moves to", "Music"),
)
_FAREWELL = (
    Beat("Pip", "leaves"),
    Beat("Dot", "leaves"),
    Beat("Kite", "leaves"),
    Beat(_HOSTILE, "leaves"),
    Beat("Rook", "leaves"),
    Beat("Nelly", "leaves"),
)
_BEAT_S = 0.48
_FAREWELL_BEAT_S = 0.25


@dataclass(frozen=True)
class Scene:
    """The guild with its members and channels by name; nobody is in voice yet."""

    guild: Guild
    text_channel: Channel
    members: Mapping[str, Member]
    channels: Mapping[str, Channel] = field(repr=False)


def set_scene(world: World) -> Scene:
    """Make the guild. It must be there before anybody connects."""
    guild = world.add_guild("The Lantern")
    return Scene(
        guild=guild,
        text_channel=guild.add_text_channel("voice-log"),
        members={name: guild.add_member(name.lower(), nick=name) for name in _MEMBERS},
        channels={
            "General": guild.add_voice_channel("General"),
            "Music": guild.add_voice_channel("Music"),
            "Open mic": guild.add_stage_channel("Open mic"),
        },
    )


async def play_evening(scene: Scene, narrate: Narrate, *, pace: float) -> range:
    """Play it and return which of its transitions were the burst; *pace* stretches the pauses, 0 has none."""
    before = await _play(scene, _SCRIPT, narrate, pause_s=_BEAT_S * pace)
    narrate(f"Suddenly everybody plays tag: {BURST} transitions within a second")
    await _burst(scene, duration_s=_BURST_S * pace)
    await _play(scene, _FAREWELL, narrate, pause_s=_FAREWELL_BEAT_S * pace)
    narrate("The others stay. The channel catches up: Discord takes 5 messages in 2 seconds")
    return range(before, before + BURST)


async def _play(scene: Scene, script: Sequence[Beat], narrate: Narrate, *, pause_s: float) -> int:
    for beat in script:
        narrate(" ".join(filter(None, beat)))
        await _perform(scene, beat)
        await asyncio.sleep(pause_s)
    return len(script)


async def _perform(scene: Scene, beat: Beat) -> None:
    guild, member, verb = scene.guild, scene.members[beat.who], _VERBS[beat.does]
    match verb.operation:
        case "join":
            await guild.join(member, scene.channels[beat.where], without=(), **verb.flags)
        case "move":
            # Only the audience of a stage is suppressed.
            await guild.move(member, scene.channels[beat.where], suppress=False)
        case "update":
            await guild.update(member, without=(), **verb.flags)
        case "leave":
            await guild.leave(member)


async def _burst(scene: Scene, *, duration_s: float) -> None:
    """Everybody runs to and fro between two channels and presses the mute button on the way."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    members = list(scene.members.values())
    for number in range(BURST):
        if number % (BURST // _BURST_TICKS) == 0:
            await asyncio.sleep(started + duration_s * number / BURST - loop.time())
        turn, place = divmod(number, len(members))
        await _dash(scene, members[place], turn)


async def _dash(scene: Scene, member: Member, turn: int) -> None:
    guild, general, music = scene.guild, scene.channels["General"], scene.channels["Music"]
    state = guild.voice_states.get(member.id)
    if state is None:
        await guild.join(member, general)
    elif turn % 2:
        await guild.update(member, self_mute=not state.flags & Flag.SELF_MUTE)
    else:
        await guild.move(member, music if state.channel is general else general, suppress=False)

"""The evening: who is there, and what they do. ``acts`` has what goes wrong meanwhile."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from infra.local.discord import Channel, Flag, Guild, Member, World

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

# A name that would be bold and ping everybody if it were ever read as markup.
_HOSTILE = "@everyone **bold**"
_DANCERS = ("Nelly", "Moss", "Kite", "Wren", "Pip", "Otto", "Fern", "Juno", "Dot", "Sable", "Rook", _HOSTILE)
_LAST = "Ember"
_GUEST = "Wisp"
MODERATOR = "Moss"


class Beat(NamedTuple):
    who: str
    does: str
    where: str = ""


class Script(NamedTuple):
    """What people do, one after the other; ``pause_s`` is the time to read each line."""

    pause_s: float
    beats: tuple[Beat, ...]


OPENING = Script(
    0.3,
    (
        Beat("Nelly", "joins", "General"),
        Beat("Moss", "joins", "General"),
        Beat("Nelly", "mutes"),
        Beat("Kite", "joins", "Music"),
        Beat(_HOSTILE, "joins", "General"),
        Beat("Moss", "starts streaming"),
        Beat("Wren", "joins", "General"),
        Beat("Kite", "deafens"),
        Beat("Wren", "turns the camera on"),
        Beat(_HOSTILE, "is muted by a moderator"),
        Beat("Juno", "takes a seat at", "Open mic"),
        Beat("Nelly", "unmutes"),
        Beat("Juno", "is invited to speak"),
        Beat("Pip", "joins", "Music"),
        Beat("Moss", "stops streaming"),
    ),
)
KNOCK = Script(0.2, (Beat(_GUEST, "joins", "Waiting room"),))
ONE_MORE = Script(0.2, (Beat("Otto", "joins", "General"),))
API_DOWN = Script(
    0.4,
    (
        Beat("Pip", "moves to", "General"),
        Beat(_HOSTILE, "is unmuted by a moderator"),
        Beat("Fern", "joins", "Music"),
        Beat("Kite", "undeafens"),
    ),
)
UNHEARD = Script(
    0.6,
    (
        Beat("Pip", "leaves"),
        Beat("Juno", "starts streaming"),
        Beat("Otto", "moves to", "Open mic"),
        Beat("Sable", "leaves"),
        Beat("Sable", "joins", "General"),
        Beat("Dot", "leaves"),
    ),
)
GUILD_DOWN = Script(
    0.45,
    (
        Beat("Wren", "moves to", "Open mic"),
        Beat("Kite", "leaves"),
        Beat("Pip", "joins", "Music"),
    ),
)
# Happens only once, like the end of the farewell: see Acts.wait_delivered.
ALL_IS_WELL = Script(0.2, (Beat("Fern", "turns the camera on"),))
AT_THE_KILL = Script(
    0,
    (
        Beat("Moss", "starts streaming"),
        Beat("Nelly", "leaves"),
        Beat("Moss", "moves to", "Open mic"),
    ),
)
BOT_DOWN = Script(
    0.45,
    (
        Beat("Kite", "joins", "General"),
        Beat(_HOSTILE, "leaves"),
        Beat("Juno", "stops streaming"),
    ),
)
FAREWELL = Script(
    0.25,
    (
        Beat("Wren", "leaves"),
        Beat("Pip", "leaves"),
        Beat("Moss", "leaves"),
        Beat("Otto", "leaves"),
        Beat(_LAST, "joins", "General"),
        Beat(_LAST, "leaves"),
    ),
)


@dataclass(frozen=True)
class Scene:
    """The guild, with its members and channels by name."""

    guild: Guild
    text_channel: Channel
    staff_channel: Channel
    members: Mapping[str, Member]
    channels: Mapping[str, Channel] = field(repr=False)


def set_scene(world: World) -> Scene:
    """Make the guild, with nobody in voice. It must exist before a client connects."""
    guild = world.add_guild("The Lantern")
    moderators = guild.add_role("Moderators")
    names = (*_DANCERS, _LAST, _GUEST)
    return Scene(
        guild=guild,
        text_channel=guild.add_text_channel("voice-log"),
        staff_channel=guild.add_text_channel("staff"),
        members={
            name: guild.add_member(name.lower(), nick=name, roles=[moderators] if name == MODERATOR else ())
            for name in names
        },
        channels={
            "General": guild.add_voice_channel("General"),
            "Music": guild.add_voice_channel("Music"),
            "Open mic": guild.add_stage_channel("Open mic"),
            "Waiting room": guild.add_voice_channel("Waiting room"),
        },
    )


class Players:
    """Plays scripts in *scene*; *pace* stretches their pauses, 0 has none.

    ``sent`` counts the transitions so far.
    """

    def __init__(self, scene: Scene, narrate: Narrate, *, pace: float) -> None:
        self.scene = scene
        self.sent = 0
        self.narrate = narrate
        self._pace = pace

    async def play(self, script: Script) -> None:
        for beat in script.beats:
            self.narrate(" ".join(filter(None, beat)))
            await self._perform(beat)
            self.sent += 1
            await self.pause(script.pause_s)

    def count_one(self) -> None:
        """Count a transition that the bot brought about."""
        self.sent += 1

    async def pause(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s * self._pace)

    async def burst(self) -> range:
        """Let everybody switch between two channels and toggle mute on the way.

        Returns the places that this has among all transitions.
        """
        self.narrate(f"Everyone starts channel-hopping: {BURST} transitions within a second")
        loop = asyncio.get_running_loop()
        started, before = loop.time(), self.sent
        for number in range(BURST):
            if number % (BURST // _BURST_TICKS) == 0:
                await asyncio.sleep(started + _BURST_S * self._pace * number / BURST - loop.time())
            turn, place = divmod(number, len(_DANCERS))
            await self._dash(self.scene.members[_DANCERS[place]], turn)
            self.sent += 1
        return range(before, self.sent)

    async def _perform(self, beat: Beat) -> None:
        guild, member, verb = self.scene.guild, self.scene.members[beat.who], _VERBS[beat.does]
        match verb.operation:
            case "join":
                await guild.join(member, self.scene.channels[beat.where], without=(), **verb.flags)
            case "move":
                # Only the audience of a stage is suppressed.
                await guild.move(member, self.scene.channels[beat.where], suppress=False)
            case "update":
                await guild.update(member, without=(), **verb.flags)
            case "leave":
                await guild.leave(member)

    async def _dash(self, member: Member, turn: int) -> None:
        guild, channels = self.scene.guild, self.scene.channels
        state = guild.voice_states.get(member.id)
        if state is None:
            await guild.join(member, channels["General"])
        elif turn % 2:
            await guild.update(member, self_mute=not state.flags & Flag.SELF_MUTE)
        else:
            there = channels["Music" if state.channel is channels["General"] else "General"]
            await guild.move(member, there, suppress=False)

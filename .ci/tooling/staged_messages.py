"""The messages of the demo's admission, made by the real definitions at fixed times; no AWS, no network.

The demo's people act in the stand-in's world, the real tracker makes events of what it publishes, the
definitions in ``workflow/`` are walked with them, and the bot's own code builds what Discord would get.
"""

import asyncio
import datetime as dt
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import orjson

from bot.actions.message import Message, build_edit, build_new
from bot.ulid import UlidFactory
from bot.voice.observation import Observation
from bot.voice.tracker import Tracker
from infra.local.demo import evening
from infra.local.demo.evening import Beat, Players, Script, set_scene
from infra.local.discord import TransitionLog, World
from infra.local.discord.snowflakes import Snowflakes
from tests.unit.workflow.walking import EXECUTION, Later, Walker, read_definition

Json = dict[str, Any]

_RULES: Final = Path(evening.__file__).with_name("rules.toml")
_BEGAN: Final = dt.datetime(2026, 11, 21, 20, 0, tzinfo=dt.UTC)
_BEAT_S: Final = 3.0
_READ_AFTER_S: Final = 20.0
_PRESSED_AFTER_S: Final = 25.0
_UNHEARD: Final = evening.UNHEARD.beats[:2]


class StagedMessage(NamedTuple):
    """A *body* that Discord got at ``sent``, as it was read at ``read``."""

    channel: str
    body: Json
    sent: dt.datetime
    read: dt.datetime
    edited: bool = False


class Admission(NamedTuple):
    """The card while it is open, and once it is closed; the lines about it; *world* has the names."""

    world: World
    open: StagedMessage
    closed: StagedMessage
    lines: StagedMessage


def stage_admission() -> Admission:
    """Play the demo's admission, with a gap after it; the same each time."""
    return asyncio.run(_Stage().play())


class _Stage:
    """The world's publisher: what is published goes to the tracker, while it watches."""

    def __init__(self) -> None:
        self._now = _BEGAN
        self._watching = False
        self._events: list[Json] = []
        self._tracker = Tracker({}, UlidFactory())
        self._world = World(
            publisher=self, log=TransitionLog(), snowflakes=Snowflakes(), clock=lambda: self._now.timestamp()
        )
        self._scene = set_scene(self._world)
        self._players = Players(self._scene, lambda _: None, pace=0)

    def publish(self, guild_id: str, event: str, data: bytes) -> Literal["live", "unseen"]:  # noqa: ARG002  # see Publisher
        if not self._watching:
            return "unseen"
        self._take(self._tracker.voice_state(orjson.loads(data), self._now_ms))
        return "live"

    async def wait_for_room(self) -> None:
        pass

    async def play(self) -> Admission:
        self._watch()
        await self._act(*evening.OPENING.beats)
        self._events.clear()
        await self._act(*evening.KNOCK.beats)
        opened, closed = await self._admit(self._events[-1])
        self._tracker.unwatch(self._scene.guild.id, "session_lost", since_ms=self._now_ms)
        self._watching = False
        await self._act(*_UNHEARD)
        self._watch()
        walked = Walker(read_definition("notify"), now_ms=self._now_ms).walk(
            self._input(self._events), {"Post": [{}]}
        )
        log = self._scene.text_channel.name
        lines = StagedMessage(log, walked.given("Post")["RequestBody"], self._now, self._now)
        return Admission(self._world, opened, closed, lines)

    async def _admit(self, joined: Json) -> tuple[StagedMessage, StagedMessage]:
        """Let the moderator admit the guest, and return the card before and after."""
        sent, scene = self._now, self._scene
        moderator = scene.members[evening.MODERATOR]
        rule = tomllib.loads(_RULES.read_text(encoding="utf-8"))["rule"][0]
        press = {"signal": "admit", "data": {}, "by": {"kind": "user", "id": moderator.id}}
        card = {"channel_id": scene.staff_channel.id, "message_id": "1"}
        answers: Mapping[str, list[Any]] = {
            "FindPerson": [{"channel_id": joined["data"]["channel"]["id"]}],
            "SendCard": [card],
            "WaitForDecision": [Later(_PRESSED_AFTER_S, press)],
            "Move": [{}],
            "CloseCard": [card],
        }
        walker = Walker(read_definition(rule["workflow"]), now_ms=self._now_ms)
        walked = walker.walk(self._input([joined], rule["parameters"]), answers)
        card_open, card_closed = (
            Message.model_validate(walked.given(name)["message"]) for name in ("SendCard", "CloseCard")
        )
        body = build_new(card_open, EXECUTION, "card")
        staff = scene.staff_channel.name
        opened = StagedMessage(staff, body, sent, sent + dt.timedelta(seconds=_READ_AFTER_S))
        self._now += dt.timedelta(seconds=_PRESSED_AFTER_S)
        target = self._scene.guild.channels[walked.given("Move")["channel_id"]]
        await scene.guild.move(scene.members[evening.KNOCK.beats[0].who], target)
        # An edit replaces what it names.
        body = body | build_edit(card_closed, EXECUTION)
        return opened, StagedMessage(staff, body, sent, self._now, edited=True)

    async def _act(self, *beats: Beat) -> None:
        for beat in beats:
            self._now += dt.timedelta(seconds=_BEAT_S)
            await self._players.play(Script(0, (beat,)))

    def _watch(self) -> None:
        self._watching = True
        self._take(self._tracker.snapshot(orjson.loads(self._scene.guild.build_snapshot()), self._now_ms))

    def _take(self, observation: Observation | None) -> None:
        if observation is not None:
            self._events += [dict(event) for event in observation.events]

    def _input(self, events: list[Json], parameters: Mapping[str, Any] | None = None) -> Json:
        given = dict(parameters or {})
        return {"id": EXECUTION, "destination": "default", "parameters": given, "events": events}

    @property
    def _now_ms(self) -> int:
        return round(self._now.timestamp() * 1000)

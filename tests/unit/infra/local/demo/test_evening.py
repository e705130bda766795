"""The evening itself, without a client that is connected."""

import tomllib
from collections import Counter
from pathlib import Path

from infra.local.audit import Log, parse_transition
from infra.local.audit.facts import name_flags
from infra.local.demo import evening
from infra.local.demo.evening import BURST, Players, set_scene
from infra.local.discord import StandIn

SCRIPTS_BEFORE = (evening.OPENING, evening.KNOCK, evening.ONE_MORE, evening.API_DOWN)
SCRIPTS_AFTER = (
    evening.UNHEARD,
    evening.GUILD_DOWN,
    evening.ALL_IS_WELL,
    evening.AT_THE_KILL,
    evening.BOT_DOWN,
    evening.FAREWELL,
)


class Played:
    """The whole evening in the order of its acts, with nothing broken."""

    def __init__(self) -> None:
        self.discord = StandIn()
        self.narrated: list[str] = []
        self.players = Players(set_scene(self.discord.world), self.narrated.append, pace=0)
        self.burst = range(0)
        self.marks: list[int] = []

    async def play(self) -> "Played":
        for script in SCRIPTS_BEFORE:
            await self.players.play(script)
        self.burst = await self.players.burst()
        for script in SCRIPTS_AFTER:
            await self.players.play(script)
            self.marks.append(self.players.sent)
        return self


async def test_every_line_is_a_transition() -> None:
    """And so is every one of the burst, which is where the range says."""
    played = await Played().play()
    sent = played.discord.sent

    assert len(played.burst) == BURST
    # Each line announces one transition; the burst has one for all of its own.
    assert len(sent) == played.players.sent == len(played.narrated) - 1 + BURST
    kinds = Counter(transition.kind for transition in sent)
    assert set(kinds) == {"joined", "moved", "updated", "left"}
    changed = {name for transition in sent for name in transition.changes}
    assert {"self_mute", "self_deaf", "self_stream", "self_video", "mute", "suppress"} <= changed


async def test_burst_takes_less_than_a_second() -> None:
    played = await Played().play()
    burst = [played.discord.sent[place] for place in played.burst]
    assert burst[-1].at - burst[0].at < 1


async def test_every_evening_is_the_same() -> None:
    one, other = [(await Played().play()).discord.sent for _ in range(2)]
    assert [transition._replace(at=0) for transition in one] == [
        transition._replace(at=0) for transition in other
    ]


async def test_log_says_who_is_where() -> None:
    """After the last transition, and by every single one."""
    played = await Played().play()
    guild = played.players.scene.guild
    log = Log.build(guild.id, played.discord.sent)
    assert {user_id: seat[:2] for user_id, seat in log.places[-1].items()} == {
        user_id: (state.channel.id, name_flags(state.flags)) for user_id, state in guild.voice_states.items()
    }
    for place, fact in enumerate(log.facts):
        assert list(log.infer(range(place, place + 1))) == [fact.as_inferred()]


async def test_awaited_transition_happens_once() -> None:
    """Else an earlier one could be taken for it."""
    played = await Played().play()
    facts = [parse_transition(transition) for transition in played.discord.sent]
    after = dict(zip(SCRIPTS_AFTER, played.marks, strict=True))
    for script in (evening.ALL_IS_WELL, evening.FAREWELL):
        assert facts.count(facts[after[script] - 1]) == 1


def test_rules_name_the_scene() -> None:
    """The ids in the demo's rules are those that the stand-in makes."""
    scene = set_scene(StandIn().world)
    rules = tomllib.loads(Path(evening.__file__).with_name("rules.toml").read_text())["rule"]
    waiting = [scene.channels["Waiting room"].id]
    parameters = rules[0]["parameters"]

    assert (rules[0]["entering"], rules[1]["leaving"]) == (waiting, waiting)
    assert parameters["target_channel"] == scene.channels["General"].id
    assert parameters["staff_channel"] == scene.staff_channel.id
    assert parameters["deciding_roles"] == list(scene.members[evening.MODERATOR].role_ids)

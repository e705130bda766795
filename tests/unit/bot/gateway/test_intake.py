"""From a payload to the lanes: what rules are told of it, and what goes out."""

import logging
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import structlog

from bot.clock import format_ms
from bot.gateway.intake import Intake, log_skipped
from bot.outbox.work import Advanced, Captured, OutgoingEvent, Released
from bot.routing.lane import Lane
from bot.routing.rules import DEFAULT_RULES, Rule, Rules
from bot.ulid import UlidFactory
from bot.voice.occupancy import Occupant
from bot.voice.tracker import Tracker
from tests.support.frames import T0

GUILD = "41771983423143937"
LOUNGE, AFK, OFFICE = "127121515262115840", "127121515262115841", "127121515262115842"
FLOOR, CELLAR = "127121515262115850", "127121515262115851"
NELLY = "80351110224678912"
BOSS, GUEST = "41771983423143938", "41771983423143939"


def member(*role_ids: Any) -> dict[str, Any]:
    return {"user": {"id": NELLY, "username": "nelly"}, "roles": list(role_ids)}


def voice_state(channel: str | None, **fields: Any) -> dict[str, Any]:
    return {"guild_id": GUILD, "user_id": NELLY, "channel_id": channel, "member": member(BOSS), **fields}


def channel(channel_id: str, category_id: Any) -> dict[str, Any]:
    return {"guild_id": GUILD, "id": channel_id, "type": 2, "name": "a", "parent_id": category_id}


def guild_create(**fields: Any) -> dict[str, Any]:
    channels = [channel(LOUNGE, FLOOR), channel(OFFICE, FLOOR), channel(AFK, None)]
    return {"id": GUILD, "name": "Base", "afk_channel_id": AFK, "channels": channels, **fields}


class Relay:
    """An intake that has seen the guild; ``routed`` has the ways that the last frame's events went."""

    def __init__(self, *rules: Rule) -> None:
        self.out: list[OutgoingEvent] = []
        self.released: list[Released] = []
        self.now_ms, self.set_by_ms = T0, 0
        self.rows: dict[str, Occupant | None] = {}
        self.intake = Intake(
            Tracker({}, UlidFactory()),
            Rules(rules),
            self._put,
            clock=lambda: self.now_ms + self.set_by_ms,
            elapsed=lambda: self.now_ms,
        )
        self.intake.guild_created(guild_create())

    @property
    def routed(self) -> list[str]:
        return [outgoing.destination for outgoing in self.out]

    def go(self, to: str | None, **fields: Any) -> list[str]:
        self.intake.voice_state(voice_state(to, **fields))
        return self.routed

    def wait(self, s: float) -> list[tuple[str, float | None]]:
        """Let so much time pass; return what the debounce lets go then: type and duration."""
        self.now_ms += int(s * 1000)
        self.released.clear()
        self.intake.release()
        bodies = [
            orjson.loads(one.body)
            for item in self.released
            for released in item.events.values()
            for one in released
        ]
        return [(body["type"].rpartition(".")[2], body["data"]["duration_s"]) for body in bodies]

    def _put(self, item: Captured | Released | Advanced) -> None:
        if isinstance(item, Released):
            self.released.append(item)
        elif isinstance(item, Captured):
            self.out = list(item.events)
            self.rows.update(item.observation.occupants)


def test_same_event_enters_each_lane() -> None:
    relay = Relay(
        Rule(workflow="audit", destination="log", continues=True),
        Rule(workflow="notify", destination="ops", continues=True),
        Rule(workflow="notify", destination="ops"),
    )
    relay.go(LOUNGE)
    first, second = relay.out
    assert (first.lane, first.destination) == (Lane("audit", GUILD), "log")
    assert (second.lane, second.destination) == (Lane("notify", GUILD), "ops")
    assert (first.event_id, first.body) == (second.event_id, second.body)
    assert orjson.loads(first.body)["id"] == first.event_id


def test_routes_by_role() -> None:
    relay = Relay(
        Rule(roles=frozenset({BOSS}), destination="boss"), Rule(roles=frozenset({GUEST}), destination="guest")
    )
    assert relay.go(LOUNGE) == ["boss"]
    assert relay.go(OFFICE, member=member(GUEST, 5)) == ["guest"]
    assert relay.go(LOUNGE, member=member(int(GUEST))) == ["guest"]
    assert relay.go(OFFICE, user_id=None) == ["boss"]


@pytest.mark.parametrize("roles", [None, [], BOSS, 7, {BOSS: 1}, [None, {}, []]])
def test_missing_roles_match_nothing(roles: Any) -> None:
    relay = Relay(Rule(roles=frozenset({BOSS})))
    assert relay.go(LOUNGE, member={**member(), "roles": roles}) == []
    assert relay.go(OFFICE, member={"user": {"id": NELLY}}) == []
    assert relay.go(LOUNGE, member=None) == []


def test_snapshot_roles_come_from_members() -> None:
    relay = Relay(Rule(roles=frozenset({BOSS}), destination="boss"))
    states = [{"user_id": NELLY, "channel_id": LOUNGE}]
    relay.intake.guild_created(guild_create(voice_states=states, members=[member(BOSS), "x", {}]))
    assert relay.routed == ["boss"]
    relay.intake.guild_created(guild_create(voice_states=[{**states[0], "channel_id": AFK}]))
    assert relay.routed == []
    relay.intake.guild_created(guild_create(voice_states=[{**states[0], "member": member(BOSS)}]))
    assert relay.routed == ["boss"]


def test_routes_by_current_category() -> None:
    relay = Relay(Rule(categories=frozenset({FLOOR}), destination="floor"), Rule(destination="other"))
    assert relay.go(LOUNGE) == ["floor"]
    assert relay.go(AFK) == ["floor"]
    assert relay.go(None) == ["other"]
    relay.intake.channel_changed(channel(LOUNGE, CELLAR))
    assert relay.go(LOUNGE) == ["other"]
    relay.intake.channel_changed(channel(LOUNGE, None))
    relay.intake.channel_changed(channel(AFK, FLOOR))
    assert relay.go(None) == ["other"]
    assert relay.go(AFK) == ["floor"]
    relay.intake.guild_created(guild_create(voice_states=[voice_state(AFK)]))
    assert relay.go(None) == ["other"]
    relay.intake.channel_changed(channel(OFFICE, None))
    assert relay.go(OFFICE) == ["other"]
    assert relay.go(LOUNGE) == ["floor"]
    relay.intake.guild_created(guild_create(channels=[], voice_states=[voice_state(LOUNGE)]))
    assert relay.go(None) == ["other"]


def test_deleted_channel_keeps_category() -> None:
    """Until everybody has left it."""
    relay = Relay(Rule(categories=frozenset({FLOOR}), drop=True), Rule())
    relay.go(LOUNGE)
    relay.intake.channel_deleted({"guild_id": GUILD, "id": LOUNGE})
    relay.intake.channel_deleted({"guild_id": GUILD, "id": OFFICE})
    assert relay.go(None) == []
    assert relay.go(OFFICE) == ["default"]


def test_routes_by_current_afk_channel() -> None:
    relay = Relay(Rule(afk=True, destination="afk"), Rule(destination="other"))
    assert relay.go(LOUNGE) == ["other"]
    assert relay.go(AFK) == ["afk"]
    assert relay.go(LOUNGE) == ["afk"]
    relay.intake.guild_updated({"id": GUILD, "name": "Base"})
    assert relay.go(AFK) == ["afk"]
    relay.intake.guild_updated({"id": GUILD, "name": "Base", "afk_channel_id": OFFICE})
    assert relay.go(LOUNGE) == ["other"]
    assert relay.go(OFFICE) == ["afk"]
    relay.intake.guild_updated({"id": GUILD, "name": "New", "afk_channel_id": None})
    assert relay.go(None) == ["other"]
    relay.intake.guild_created(guild_create(afk_channel_id=LOUNGE))
    assert relay.go(LOUNGE) == ["afk"]


def test_new_rules_apply_next_frame() -> None:
    relay = Relay(Rule(destination="old"))
    assert relay.go(LOUNGE) == ["old"]
    relay.intake.rules = Rules([Rule(roles=frozenset({BOSS}), destination="new")])
    assert relay.go(OFFICE) == ["new"]


def test_debug_log_names_rules() -> None:
    relay = Relay(
        Rule(name="streams", continues=True), Rule(types=frozenset({"left"})), Rule(afk=False), Rule()
    )
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    with structlog.testing.capture_logs() as lines:
        intake = Intake(Tracker({}, UlidFactory()), relay.intake.rules, lambda _: None)
        intake.guild_created(guild_create())
        intake.voice_state(voice_state(LOUNGE))
    (line,) = [line for line in lines if line["event"] == "event_captured"]
    assert line["rules"] == ["rule 1 (streams)", "rule 3"]


def test_frames_before_resumed_are_replayed() -> None:
    """Until the source is connected, what it brings happened earlier: the stay's length is unknown."""
    relay = Relay(Rule())
    source = SimpleNamespace(connected=False, position=None, seen_ms=None)
    relay.intake.source = source
    relay.go(LOUNGE)
    source.connected = True
    relay.go(OFFICE)
    durations = [orjson.loads(relay.out[0].body)["data"]["duration_s"]]
    relay.go(LOUNGE)
    durations.append(orjson.loads(relay.out[0].body)["data"]["duration_s"])
    assert durations[0] is None
    assert durations[1] is not None


def test_logs_skipped_parts_in_one_line() -> None:
    """With the ids, of a few, and nothing else of the payload."""
    channels = [{"id": str(number), "type": "x", "name": "secret"} for number in range(50)]
    with structlog.testing.capture_logs() as lines:
        tracker = Tracker({}, UlidFactory(), on_skipped=log_skipped)
        Intake(tracker, Rules([Rule()]), lambda _: None).guild_created(guild_create(channels=channels))
    assert lines == [
        {
            "event": "payload_parts_skipped",
            "log_level": "warning",
            "guild_id": GUILD,
            "parts": [f"channel {number}" for number in range(10)],
            "count": 50,
        }
    ]


def test_debounced_stay_is_whole() -> None:
    """They left and came back at 16 s, which was never told, and left for good at 23 s."""
    relay = Relay(Rule(debounce_s=5))
    relay.go(LOUNGE)
    assert relay.wait(16) == [("joined", None)]
    relay.go(None)
    relay.go(LOUNGE)
    assert relay.wait(7) == []
    relay.go(None)
    assert relay.wait(5) == [("left", 23.0)]


def test_rule_for_joins_alone_ignores_undone() -> None:
    relay = Relay(Rule(types=frozenset({"joined"}), debounce_s=5))
    relay.go(LOUNGE)
    relay.wait(2)
    relay.go(None)
    assert relay.wait(5) == []


def test_same_place_after_gap_is_nothing() -> None:
    """Although the gap lasted longer than the debounce."""
    relay = Relay(Rule(debounce_s=5))
    relay.go(LOUNGE, session_id="s")
    relay.wait(5)
    relay.go(OFFICE, session_id="s")
    relay.intake.guild_deleted({"id": GUILD, "unavailable": True})
    assert relay.wait(60) == []
    relay.intake.guild_created(guild_create(voice_states=[voice_state(LOUNGE, session_id="s")]))
    assert relay.wait(5) == []


def test_debounce_sets_batch_size() -> None:
    """The rule's own, as for events that are not held."""
    relay = Relay(Rule(debounce_s=5, batch_max_events=7))
    relay.go(LOUNGE)
    relay.wait(5)
    ((sent,),) = relay.released[0].events.values()
    assert sent.batch_max_events == 7


def test_outage_in_replay_began_before() -> None:
    """When the guild was lost is not known, only that it was after the connection broke."""
    relay = Relay(Rule())
    relay.intake.source = SimpleNamespace(connected=False, position=None, seen_ms=T0 + 2000)
    relay.now_ms = T0 + 60_000
    relay.intake.guild_deleted({"id": GUILD, "unavailable": True})
    relay.intake.guild_created(guild_create())
    (gap,) = [orjson.loads(one.body) for one in relay.out]
    assert gap["data"]["from"] == format_ms(T0 + 2000)


@pytest.mark.parametrize("hours", [1, -1])
def test_set_clock_leaves_stays_unknown(hours: int) -> None:
    """Also in the file; those who come after it are timed as ever, debounced or not."""
    for debounce_s in (0, 5):
        relay = Relay(Rule(debounce_s=debounce_s))
        told = []
        relay.go(LOUNGE)
        told += relay.wait(60)
        relay.go(None)
        relay.go(LOUNGE)
        told += relay.wait(60)
        relay.set_by_ms += hours * 3_600_000
        with structlog.testing.capture_logs() as lines:
            told += relay.wait(1)
        assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["clock_was_set"]
        row = relay.rows[NELLY]
        assert row is not None
        assert row.since_ms is None
        for place in (None, LOUNGE, None):
            relay.go(place)
            told += [
                (body["type"].rpartition(".")[2], body["data"]["duration_s"])
                for body in (orjson.loads(one.body) for one in relay.out)
            ]
            told += relay.wait(20)
        stays = [duration_s for kind, duration_s in told if kind == "left"]
        assert stays[-2:] == [None, 20.0]


def test_slewed_clock_is_no_step() -> None:
    relay = Relay(Rule())
    relay.go(LOUNGE)
    for _ in range(10):
        relay.set_by_ms += 500
        relay.wait(1)
    relay.go(None)
    assert orjson.loads(relay.out[0].body)["data"]["duration_s"] == 15.0


@pytest.mark.parametrize(
    ("gap_s", "to", "told"),
    [(9, LOUNGE, []), (10, LOUNGE, ["gap"]), (9, OFFICE, ["gap", "moved"]), (9, None, ["gap", "left"])],
)
def test_short_quiet_gap_is_only_logged(gap_s: int, to: str | None, told: list[str]) -> None:
    """It is an event all the same, and counts; one that hid something is told however short."""
    relay = Relay(*DEFAULT_RULES.rules)
    relay.go(LOUNGE, session_id="s")
    before = relay.intake.transitions
    relay.intake.guild_deleted({"id": GUILD, "unavailable": True})
    relay.wait(gap_s)
    states = [] if to is None else [voice_state(to, session_id="s")]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with structlog.testing.capture_logs() as lines:
        relay.intake.guild_created(guild_create(voice_states=states))
    bodies = [orjson.loads(one.body) for one in relay.out]
    assert [body["type"].rpartition(".")[2] for body in bodies] == told
    assert relay.intake.transitions == before + max(1, len(told))
    assert [(line["guild_id"], line["reason"]) for line in lines if line["event"] == "gap_not_routed"] == [
        (GUILD, "guild_unavailable")
    ] * (not told)


def test_removed_bot_tells_what_it_held() -> None:
    """It happened, and whether it would have been undone is not known any more."""
    relay = Relay(Rule(debounce_s=5))
    relay.go(LOUNGE)
    relay.intake.guild_deleted({"id": GUILD})
    ((sent,),) = relay.released[0].events.values()
    assert orjson.loads(sent.body)["type"] == "discord.voice.joined"
    assert relay.intake.held == 0


@pytest.mark.parametrize("resumed", [False, True])
def test_restart_holds_until_sessions_are_known(resumed: bool) -> None:
    """What was due during the stop may have been undone in it; with the session gone, a snapshot tells."""
    before = Relay(Rule(debounce_s=5))
    before.go(LOUNGE, session_id="s")
    before.wait(5)
    before.go(OFFICE, session_id="s")
    held = {key: one for key, one in before.intake._debouncer.of_guild(GUILD).items() if one is not None}
    out: list[Any] = []
    clock = before.now_ms + 60_000
    intake = Intake(
        before.intake._tracker, Rules([Rule(debounce_s=5)]), out.append, held=held, clock=lambda: clock
    )
    intake.release()
    assert out == []
    intake.begin(lambda _: resumed, ())
    intake.release()
    assert sum(isinstance(item, Released) for item in out) == resumed
    if not resumed:
        intake.guild_created(guild_create(voice_states=[voice_state(LOUNGE, session_id="s")]))
        intake.release()
        assert intake.held == 0
        assert not any(isinstance(item, Released) for item in out)

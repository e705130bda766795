"""Which rules an event meets, and where it goes."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.routing.facts import PREFIX, TYPES, UNKNOWN, Surroundings, find_key
from bot.routing.rules import DEFAULT_RULES, Route, Rule, Rules
from bot.ulid import UlidFactory
from bot.voice.events import EVENT, Event
from bot.voice.occupancy import FLAGS
from bot.voice.tracker import Tracker

NOTIFY = Route("notify", "default")
IDS = st.sampled_from(["1", "2", "3"])


def take(*channels: str | None, mute: bool = False, **user: Any) -> Event:
    """Return the last event of a person who goes through *channels*."""
    capture = Tracker({}, UlidFactory())
    capture.snapshot({"id": "1"}, 0)
    observation = None
    for place, channel in enumerate(channels):
        muted = mute and place == len(channels) - 1
        payload: dict[str, Any] = {"guild_id": "1", "channel_id": channel, "self_mute": muted}
        payload |= (
            {"member": {"user": {"id": "7", "username": "nelly", **user}}} if user else {"user_id": "7"}
        )
        observation = capture.voice_state(payload, 0)
    assert observation is not None
    return observation.events[-1]


def gap() -> Event:
    capture = Tracker({}, UlidFactory())
    capture.snapshot({"id": "1"}, 0)
    capture.unwatch("1", "session_lost", since_ms=0)
    observation = capture.snapshot({"id": "1"}, 0)
    assert observation is not None
    return observation.events[0]


JOINED, LEFT, MOVED = take("5"), take("5", None), take("5", "6")
UPDATED, MOVED_MUTED, GAP = take("5", "5", mute=True), take("5", "6", mute=True), gap()
BOT, HUMAN = take("5", bot=True), take("5", bot=False)
EVENTS = {
    "joined": JOINED,
    "left": LEFT,
    "moved": MOVED,
    "updated": UPDATED,
    "moved muted": MOVED_MUTED,
    "gap": GAP,
    "bot": BOT,
    "human": HUMAN,
}
AROUND = Surroundings({"7": frozenset({"20", "21"})}, {"5": "10"}, "6")
IN_5 = {"joined", "left", "moved", "updated", "moved muted", "bot", "human"}
IN_6 = {"moved", "moved muted"}


def ids(*values: str) -> frozenset[str]:
    return frozenset(values)


@pytest.mark.parametrize(
    ("rule", "met"),
    [
        (Rule(), set(EVENTS)),
        (Rule(types=ids("moved", "gap")), {"moved", "moved muted", "gap"}),
        (Rule(guilds=ids("1")), set(EVENTS)),
        (Rule(guilds=ids("2")), set()),
        (Rule(channels=ids("5")), IN_5),
        (Rule(channels=ids("6", "9")), IN_6),
        (Rule(categories=ids("10")), IN_5),
        (Rule(categories=ids("11")), set()),
        (Rule(users=ids("7")), IN_5),
        (Rule(users=ids("8")), set()),
        (Rule(roles=ids("21", "22")), IN_5),
        (Rule(roles=ids("22")), set()),
        (Rule(bot=True), {"bot"}),
        (Rule(bot=False), {"human"}),
        (Rule(afk=True), IN_6),
        (Rule(afk=False), IN_5 - IN_6),
        (Rule(changed=ids("self_mute", "mute")), {"updated", "moved muted"}),
        (Rule(changed=ids("self_stream")), set()),
        (Rule(channels=ids("6"), changed=ids("self_mute")), {"moved muted"}),
        (Rule(types=ids("joined"), bot=True, users=ids("8")), set()),
    ],
)
def test_rule_needs_all_conditions(rule: Rule, met: set[str]) -> None:
    rules = Rules([rule])
    assert {name for name, event in EVENTS.items() if rules.route(event, AROUND)} == met
    assert {name for name, event in EVENTS.items() if rule.first_unmet(event, AROUND) is None} == met


@pytest.mark.parametrize(
    ("rule", "met"),
    [
        (Rule(roles=ids("20")), False),
        (Rule(categories=ids("10")), False),
        (Rule(afk=True), False),
        (Rule(afk=False), True),
        (Rule(bot=False), False),
        (Rule(bot=True), False),
    ],
)
def test_unknown_meets_no_condition(rule: Rule, met: bool) -> None:
    assert bool(Rules([rule]).route(JOINED, UNKNOWN)) is met


def test_leave_without_channel_matches_none() -> None:
    """Such as an earlier version told of a leave before the snapshot."""
    nowhere = take("5", None)
    nowhere["data"]["previous_channel"] = None  # type: ignore[typeddict-unknown-key]
    assert not Rules([Rule(channels=ids("5")), Rule(afk=True)]).route(nowhere, UNKNOWN)
    assert Rules([Rule(afk=False)]).route(nowhere, UNKNOWN)


def test_default_rules_skip_flag_changes() -> None:
    for event in (JOINED, LEFT, MOVED, GAP):
        assert DEFAULT_RULES.route(event) == (NOTIFY,)
    assert DEFAULT_RULES.route(UPDATED) == ()


def test_first_matching_rule_decides() -> None:
    rules = Rules(
        [
            Rule(channels=ids("5"), types=ids("left"), drop=True),
            Rule(users=ids("7"), types=ids("left", "moved"), workflow="long", destination="ops"),
            Rule(),
        ]
    )
    assert rules.route(LEFT) == ()
    assert rules.route(take("6", None)) == (Route("long", "ops"),)
    assert rules.route(MOVED) == (Route("long", "ops"),)
    assert rules.route(JOINED) == (NOTIFY,)
    assert rules.route(GAP) == (NOTIFY,)


def test_continuing_rules_add_up() -> None:
    rules = Rules(
        [
            Rule(workflow="audit", continues=True),
            Rule(types=ids("left"), drop=True),
            Rule(destination="ops", debounce_s=5, batch_max_events=9, continues=True),
            Rule(types=ids("joined")),
            Rule(workflow="never"),
        ]
    )
    audit, ops = Route("audit", "default"), Route("notify", "ops", 5, 9)
    assert rules.route(LEFT) == (audit,)
    assert rules.route(JOINED) == (audit, ops, NOTIFY)
    assert rules.route(GAP) == (audit, ops, Route("never", "default"))


@pytest.mark.parametrize(
    ("event", "entered", "left"),
    [
        (JOINED, {"5"}, set()),
        (LEFT, set(), {"5"}),
        (MOVED, {"6"}, {"5"}),
        (UPDATED, set(), set()),
        (GAP, set(), set()),
    ],
    ids=["joined", "left", "moved", "updated", "gap"],
)
def test_entering_and_leaving_are_one_side(event: Event, entered: set[str], left: set[str]) -> None:
    for channel in ("5", "6"):
        entering, leaving = Rule(entering=frozenset({channel})), Rule(leaving=frozenset({channel}))
        assert bool(Rules([entering]).route(event)) is (channel in entered)
        assert bool(Rules([leaving]).route(event)) is (channel in left)
        assert (entering.first_unmet(event, UNKNOWN) is None) is (channel in entered)
        assert (leaving.first_unmet(event, UNKNOWN) is None) is (channel in left)


@pytest.mark.parametrize("order", [1, -1])
def test_move_between_rooms_signals_then_starts(order: int) -> None:
    """Wherever the rules stand: the signal is for what was started before, not for the start beside it."""
    rooms = frozenset({"5", "6"})
    pair = [
        Rule(leaving=rooms, workflow="admit", signal="withdraw", continues=True),
        Rule(entering=rooms, workflow="admit", continues=True),
    ]
    signal, start = Rules(pair[::order]).route(MOVED)
    assert (signal.signal, start.signal) == ("withdraw", None)
    assert find_key(MOVED, signal.key) == find_key(MOVED, start.key) == "user-7"


def test_gap_is_no_signal() -> None:
    """It is about nobody in particular; as a start it has no key."""
    rules = Rules([Rule(workflow="admit", signal="stop"), Rule(workflow="admit")])
    (start,) = rules.route(GAP)
    assert (start.signal, find_key(GAP, start.key)) == (None, None)


def test_same_route_counts_once() -> None:
    """The first rule that names it decides its options."""
    rules = Rules([Rule(debounce_s=5, continues=True), Rule(destination="ops", continues=True), Rule()])
    assert rules.route(JOINED) == (Route("notify", "default", 5), Route("notify", "ops"))


def test_explanation_ends_at_deciding_rule() -> None:
    rules = Rules(
        [
            Rule(types=ids("left")),
            Rule(name="streams", users=ids("7"), continues=True),
            Rule(guilds=ids("2"), users=ids("8")),
            Rule(users=ids("8"), bot=True),
            Rule(),
            Rule(),
        ]
    )
    assert [(verdict.label, verdict.unmet) for verdict in rules.explain(JOINED)] == [
        ("rule 1", "types"),
        ("rule 2 (streams)", None),
        ("rule 3", "guilds"),
        ("rule 4", "users"),
        ("rule 5", None),
    ]
    assert rules.explain(GAP)[1].unmet == "users"


@pytest.mark.parametrize("rule", [Rule(roles=ids("1")), Rule(categories=ids("1")), Rule(afk=False)])
def test_asks_for_surroundings_only_when_needed(rule: Rule) -> None:
    assert Rules([Rule(), rule]).asks_around
    assert not Rules([Rule(users=ids("1"), bot=False)]).asks_around


def some(values: st.SearchStrategy[str]) -> st.SearchStrategy[frozenset[str] | None]:
    return st.none() | st.frozensets(values, min_size=1, max_size=2)


RULES = st.lists(
    st.builds(
        Rule,
        types=some(st.sampled_from(TYPES)),
        guilds=some(IDS),
        channels=some(IDS),
        entering=some(IDS),
        leaving=some(IDS),
        categories=some(IDS),
        users=some(IDS),
        roles=some(IDS),
        bot=st.none() | st.booleans(),
        afk=st.none() | st.booleans(),
        changed=some(st.sampled_from(FLAGS)),
        workflow=st.sampled_from("ab"),
        destination=st.sampled_from("xy"),
        debounce_s=st.sampled_from([0, 5]),
        signal=st.sampled_from([None, None, "stop"]),
        drop=st.sampled_from([False, False, True]),
        continues=st.booleans(),
    ),
    max_size=8,
)
AROUNDS = st.builds(
    Surroundings,
    roles=st.dictionaries(IDS, st.frozensets(IDS)),
    categories=st.dictionaries(IDS, IDS),
    afk_channel_id=st.none() | IDS,
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    kind, guild, user = draw(st.sampled_from(TYPES)), {"id": draw(IDS), "name": None}, draw(IDS)
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": "01",
        "source": f"/discord/guilds/{guild['id']}",
        "type": PREFIX + kind,
        "time": "2026-11-21T07:00:00.123Z",
    }
    if kind == "gap":
        event["data"] = {"guild": guild, "from": None, "until": event["time"], "reason": "restart"}
        return EVENT.validate_python(event)
    channels = st.none() | st.fixed_dictionaries({"id": IDS, "name": st.none(), "kind": st.just("voice")})
    event["subject"] = f"users/{user}"
    event["data"] = {
        "guild": guild,
        "user": {"id": user, "name": None, "display_name": None, "bot": draw(st.none() | st.booleans())},
        "channel": draw(channels),
        "previous_channel": draw(channels),
        "changes": draw(st.dictionaries(st.sampled_from(FLAGS), st.booleans(), max_size=2)),
        "occupants": 0,
        "duration_s": None,
        "inferred": False,
        "state": dict.fromkeys(FLAGS, False),
    }
    return EVENT.validate_python(event)


def meets(rule: Rule, event: Event, around: Surroundings) -> bool:
    """The conditions as they are documented, one by one."""
    kind = event["type"].removeprefix(PREFIX)
    if rule.types and kind not in rule.types:
        return False
    if rule.guilds and event["data"]["guild"]["id"] not in rule.guilds:
        return False
    if event["type"] == "discord.voice.gap":
        asked = (
            rule.channels,
            rule.entering,
            rule.leaving,
            rule.categories,
            rule.users,
            rule.roles,
            rule.bot,
            rule.afk,
            rule.changed,
        )
        return rule.signal is None and all(condition is None for condition in asked)
    data = event["data"]
    channels = [channel["id"] for channel in (data["channel"], data["previous_channel"]) if channel]
    came_to = data["channel"] if kind in ("joined", "moved") else None
    went_from = data["previous_channel"] if kind in ("left", "moved") else None
    categories = [around.categories[channel] for channel in channels if channel in around.categories]
    return all(
        [
            rule.channels is None or any(channel in rule.channels for channel in channels),
            rule.entering is None or (came_to is not None and came_to["id"] in rule.entering),
            rule.leaving is None or (went_from is not None and went_from["id"] in rule.leaving),
            rule.categories is None or any(category in rule.categories for category in categories),
            rule.users is None or data["user"]["id"] in rule.users,
            rule.roles is None
            or any(role in rule.roles for role in around.roles.get(data["user"]["id"], [])),
            rule.bot is None or rule.bot == data["user"]["bot"],
            rule.afk is None or rule.afk == (around.afk_channel_id in channels),
            rule.changed is None or any(flag in rule.changed for flag in data["changes"]),
        ]
    )


def naive(rules: Sequence[Rule], event: Event, around: Surroundings) -> list[Route]:
    """Ask every rule in order, with no index."""
    found: dict[object, Route] = {}
    for rule in rules:
        if not meets(rule, event, around):
            continue
        for route in rule.routes:
            signalled = any(other.signal and other.workflow == rule.workflow for other in rules)
            route = route._replace(key="person" if signalled else None)
            found.setdefault((rule.workflow, rule.destination, rule.signal), route)
        if not rule.continues:
            break
    return list(found.values())


@given(RULES, events(), AROUNDS)
def test_index_agrees_with_plain_search(rules: list[Rule], event: Event, around: Surroundings) -> None:
    """An event goes where asking every rule in order would send it."""
    assert list(Rules(rules).route(event, around)) == naive(rules, event, around)


@given(RULES, events(), AROUNDS)
def test_explanation_agrees_with_route(rules: list[Rule], event: Event, around: Surroundings) -> None:
    asked = Rules(rules)
    met = [verdict.rule for verdict in asked.explain(event, around) if verdict.unmet is None]
    assert met == [rule for rule in rules[: len(asked.explain(event, around))] if meets(rule, event, around)]
    assert [route.target for route in asked.route(event, around)] == [
        route.target for route in naive(met, event, around)
    ]


@given(RULES, events(), AROUNDS)
def test_surroundings_matter_only_when_asked(rules: list[Rule], event: Event, around: Surroundings) -> None:
    asked = Rules(rules)
    if not asked.asks_around:
        assert asked.route(event, around) == asked.route(event, UNKNOWN)


def test_routes_are_immutable() -> None:
    """The same sequence is handed out for every event."""
    routes = cast("Any", DEFAULT_RULES.route(JOINED))
    with pytest.raises(AttributeError):
        routes.append(NOTIFY)


@pytest.mark.parametrize(
    ("since", "quiet", "told"),
    [
        ("2026-11-21T06:59:50.124Z", True, False),
        ("2026-11-21T06:59:50.123Z", True, True),
        ("2026-11-21T06:59:59.123Z", False, True),
        (None, True, True),
    ],
)
def test_short_quiet_gap_meets_no_minimum(since: str | None, quiet: bool, told: bool) -> None:
    event: Any = {**GAP, "data": {**GAP["data"], "from": since, "until": "2026-11-21T07:00:00.123Z"}}
    around = Surroundings(quiet_gap=quiet)
    rules = Rules([Rule(gap_min_s=10)])
    assert rules.route(event, around) == ((NOTIFY,) if told else ())
    assert rules.explain(event, around)[0].unmet == (None if told else "gap_min_s")
    assert Rules([Rule(gap_min_s=10, continues=True), Rule()]).route(event, around) == (NOTIFY,)
    assert rules.route(JOINED, around) == (NOTIFY,)

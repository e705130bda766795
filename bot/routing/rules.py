"""Routing rules: an ordered list, each with conditions and with what becomes of an event that meets them.

The first rule that an event meets decides; one that ``continues`` adds its route and lets the next rules see
the event too. An absent condition always holds; a condition on something unknown never does. A gap has no
channel, no person and no flags, so no condition on those holds for it. ``gap_min_s`` is a condition on gaps
alone: it does not hold for a shorter one after which everybody was found where they were.

``entering`` and ``leaving`` hold for one side of a coming or going. With a debounce they are asked about what
is left of it: a person who left again in time never entered, and one who came back in time never left.

A condition is a set of wanted values, and holds if it shares one with the event's own values (its channels,
say). ``Rules`` is asked tens of thousands of times a second, so it indexes its rules by type and guild
beforehand, and gathers an event's values once for all of them.

``bot/routing/rules_file.py`` reads the rules, and says how they are written.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from bot.routing.facts import FACTS, PREFIX, SIDES, TYPES, UNKNOWN, Fact, Key, Surroundings, channel_ids
from bot.voice.events import Event, GapEvent, VoiceEvent

_TRAVEL: Final = frozenset({"joined", "left", "moved"})
"""The types of event that debounce holds."""


NO_PARAMETERS: Final = "{}"
PARAMETERS_MAX_BYTES: Final = 4096
"""Beside the 200 KiB of a batch's events there is room for it in an execution's input."""

SIGNAL_MAX_CHARS: Final = 40


class Route(NamedTuple):
    """Where an event goes; ``batch_max_events`` is ``None`` where the setting decides.

    ``parameters`` are what the rule hands to its workflow: a JSON object, sent as it is. With a ``signal``
    the event starts no execution, but goes to the one last started under the same ``key``; without, the
    execution is remembered under its ``key``, ``None`` if no rule signals its workflow.
    """

    workflow: str
    destination: str
    debounce_s: float = 0.0
    batch_max_events: int | None = None
    parameters: str = NO_PARAMETERS
    signal: str | None = None
    key: Key | None = None

    @property
    def debounce_ms(self) -> int:
        return int(self.debounce_s * 1000)

    @property
    def target(self) -> tuple[str, str, str | None]:
        """What an event goes to once, however many rules send it there."""
        return self.workflow, self.destination, self.signal


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; an absent condition is ``None``. The names are the keys of the file."""

    name: str | None = None
    types: frozenset[str] | None = None
    guilds: frozenset[str] | None = None
    channels: frozenset[str] | None = None
    entering: frozenset[str] | None = None
    leaving: frozenset[str] | None = None
    categories: frozenset[str] | None = None
    users: frozenset[str] | None = None
    roles: frozenset[str] | None = None
    bot: bool | None = None
    afk: bool | None = None
    changed: frozenset[str] | None = None
    gap_min_s: float = 0.0
    workflow: str = "notify"
    destination: str = "default"
    debounce_s: float = 0.0
    batch_max_events: int | None = None
    parameters: str = NO_PARAMETERS
    signal: str | None = None
    key: Key | None = field(default=None, compare=False)
    drop: bool = False
    continues: bool = False
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    """Where in the file the rule names what it leads to, by key."""

    @property
    def routes(self) -> tuple[Route, ...]:
        """Where an event that meets the rule goes; empty for nowhere."""
        if self.drop:
            return ()
        route = Route(
            self.workflow,
            self.destination,
            self.debounce_s,
            self.batch_max_events,
            self.parameters,
            self.signal,
            self.key,
        )
        return (route,)

    def first_unmet(self, event: Event, around: Surroundings) -> str | None:
        """Return the first condition that *event* does not meet, ``None`` if it meets them all."""
        if self.types is not None and event["type"].removeprefix(PREFIX) not in self.types:
            return "types"
        if self.guilds is not None and event["data"]["guild"]["id"] not in self.guilds:
            return "guilds"
        if event["type"] == "discord.voice.gap" and self.signal is not None:
            return "signal"
        if event["type"] == "discord.voice.gap" and not self._meets_gap(event, around):
            return "gap_min_s"
        type_ = event["type"].removeprefix(PREFIX)
        for key, wanted in self.personal_conditions():
            if event["type"] == "discord.voice.gap" or type_ not in SIDES.get(key, TYPES):
                return key
            if wanted.isdisjoint(FACTS[key](event["data"], around)):
                return key
        return None

    def is_about(self, type_: str) -> bool:
        """Tell whether a person's event of *type_* can meet the rule."""
        if self.types is not None and type_ not in self.types:
            return False
        return all(type_ in SIDES.get(key, TYPES) for key, _ in self.personal_conditions())

    def _meets_gap(self, gap: GapEvent, around: Surroundings) -> bool:
        length_s = measure_gap(gap)
        return not around.quiet_gap or length_s is None or length_s >= self.gap_min_s

    def meets_travel(self, event: VoiceEvent, around: Surroundings) -> bool:
        """Tell whether the rule is about *event* but for its type, its direction and what changed in it."""
        if self.types is not None and not self.types & _TRAVEL:
            return False
        if self.guilds is not None and event["data"]["guild"]["id"] not in self.guilds:
            return False
        return not any(
            wanted.isdisjoint((channel_ids if key in SIDES else FACTS[key])(event["data"], around))
            for key, wanted in self.personal_conditions()
            if key != "changed"
        )

    def personal_conditions(self) -> list[tuple[str, frozenset[Any]]]:
        """Return the conditions that a gap never meets, each with its wanted values."""
        found = []
        for key in FACTS:
            wanted = getattr(self, key)
            if wanted is not None:
                found.append((key, frozenset({wanted}) if isinstance(wanted, bool) else wanted))
        return found


class Verdict(NamedTuple):
    """What rule *number* says of an event; ``unmet`` is the first condition not met, ``None`` for none."""

    number: int
    rule: Rule
    unmet: str | None

    @property
    def label(self) -> str:
        return label(self.number, self.rule.name)


class Rules:
    """An ordered list of rules, asked once for each event."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(_give_keys(rules))
        self._index = {PREFIX + type_: _build_index(type_, self.rules) for type_ in TYPES if type_ != "gap"}
        self.asks_around = any(rule.roles or rule.categories or rule.afk is not None for rule in self.rules)
        """Whether any rule asks for an event's surroundings; otherwise they need not be gathered."""
        self.debounce = any(route.debounce_ms for rule in self.rules for route in rule.routes)
        """Whether any rule has events held back."""

    def route(self, event: Event, around: Surroundings = UNKNOWN) -> Sequence[Route]:
        """Return where *event* goes, each target once, signals first; empty for nowhere."""
        if event["type"] == "discord.voice.gap":
            return self._route_gap(event, around)
        always, facts, by_guild, elsewhere = self._index[event["type"]]
        if always is not None:
            return always
        data: Any = event["data"]
        so = [fact(data, around) for fact in facts] if facts else ()
        found: dict[object, Route] = {}
        for conditions, target, routes, continues in by_guild.get(data["guild"]["id"], elsewhere):
            for column, wanted in conditions:
                if wanted.isdisjoint(so[column]):
                    break
            else:
                if not (found or continues):
                    return routes
                for route in routes:
                    found.setdefault(target, route)
                if not continues:
                    break
        # What an event signals was started before it: the signal goes first, wherever its rule stands.
        return tuple(sorted(found.values(), key=lambda route: route.signal is None))

    def _route_gap(self, gap: GapEvent, around: Surroundings) -> Sequence[Route]:
        """Return where a gap goes: there are too few of them to need an index."""
        found: dict[object, Route] = {}
        for verdict in self.explain(gap, around):
            for route in verdict.rule.routes if verdict.unmet is None else ():
                found.setdefault(route.target, route)
        return tuple(found.values())

    def find_debounces(self, event: VoiceEvent, around: Surroundings = UNKNOWN) -> Collection[int]:
        """Return the debounce times, in milliseconds, of the rules that are about a coming or going.

        Whatever its type: a rule for ``joined`` alone has to hear of the leave that undoes a join.
        """
        found: dict[int, None] = {}
        for rule in self.rules if self.debounce else ():
            if rule.meets_travel(event, around):
                found.update((route.debounce_ms, None) for route in rule.routes if route.debounce_ms)
                if not rule.continues and rule.first_unmet(event, around) is None:
                    break
        return found

    def explain(self, event: Event, around: Surroundings = UNKNOWN) -> list[Verdict]:
        """Return what each rule says of *event*, in order, down to the deciding one."""
        verdicts = []
        for number, rule in enumerate(self.rules, start=1):
            verdicts.append(Verdict(number, rule, rule.first_unmet(event, around)))
            if verdicts[-1].unmet is None and not rule.continues:
                break
        return verdicts


def _give_keys(rules: Sequence[Rule]) -> Iterator[Rule]:
    """Return *rules*; those of a workflow that one of them signals say under which key."""
    signalled = {rule.workflow for rule in rules if rule.signal is not None}
    return (replace(rule, key="person") if rule.workflow in signalled else rule for rule in rules)


def measure_gap(gap: GapEvent) -> float | None:
    """Return for how many seconds nothing was watched, ``None`` if unknown."""
    since, until = gap["data"]["from"], gap["data"]["until"]
    if since is None:
        return None
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()


def label(number: int, name: str | None) -> str:
    """Return what messages call a rule: its place in the file and its name, if it has one."""
    return f"rule {number} ({name})" if name else f"rule {number}"


class _Candidate(NamedTuple):
    """A rule as ``route`` asks it; each condition is the number of a fact and the wanted values."""

    conditions: tuple[tuple[int, frozenset[Any]], ...]
    target: object
    routes: tuple[Route, ...]
    continues: bool


class _Index(NamedTuple):
    """The rules that events of one type can meet; those of guilds that rules name are separate.

    ``always`` is where all these events go, ``None`` where that depends on more than their type.
    """

    always: tuple[Route, ...] | None
    facts: tuple[Fact, ...]
    by_guild: Mapping[str, Sequence[_Candidate]]
    elsewhere: Sequence[_Candidate]


def _build_index(type_: str, rules: Sequence[Rule]) -> _Index:
    able = [rule for rule in rules if rule.is_about(type_)]
    columns = sorted({key for rule in able for key, _ in rule.personal_conditions()})

    def candidates(guild_id: str | None) -> list[_Candidate]:
        return [
            _Candidate(
                tuple((columns.index(key), wanted) for key, wanted in rule.personal_conditions()),
                (rule.workflow, rule.destination, rule.signal),
                rule.routes,
                rule.continues,
            )
            for rule in able
            if rule.guilds is None or guild_id in rule.guilds
        ]

    named: set[str] = set().union(*(rule.guilds for rule in able if rule.guilds))
    by_guild = {guild_id: candidates(guild_id) for guild_id in named}
    elsewhere = candidates(None)
    always = None if named else _decide(elsewhere)
    return _Index(always, tuple(FACTS[key] for key in columns), by_guild, elsewhere)


def _decide(candidates: Sequence[_Candidate]) -> tuple[Route, ...] | None:
    """Return the routes that *candidates* give to every event, ``None`` if they do not decide alike."""
    if not candidates:
        return ()
    first = candidates[0]
    return None if first.conditions or first.continues else first.routes


DEFAULT_RULES: Final = Rules([Rule(types=frozenset({"joined", "left", "moved", "gap"}), gap_min_s=10)])
"""Comings, goings and gaps go to notify; changes of mute, stream and the like go nowhere.

Neither do gaps of a few seconds that hid nothing, as when Discord ends a session.
"""

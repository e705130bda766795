"""Routing rules: an ordered list, each with conditions and with what becomes of an event that meets them.

The first rule that an event meets decides; one that ``continues`` adds its route and lets the next rules see
the event too. An absent condition always holds; a condition on something unknown never does. A gap has no
channel, no person and no flags, so no condition on those holds for it. ``gap_min_s`` is a condition on gaps
alone: it does not hold for a shorter one after which everybody was found where they were.

A condition is a set of wanted values, and holds if it shares one with the event's own values (its channels,
say). ``Rules`` is asked tens of thousands of times a second, so it indexes its rules by type and guild
beforehand, and gathers an event's values once for all of them.

``bot/routing/rules_file.py`` reads the rules, and says how they are written.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, get_args

from bot.voice.events import Event, GapEvent, VoiceData, VoiceEvent, VoiceEventType

PREFIX: Final = "discord.voice."
TYPES: Final = (*(kind.removeprefix(PREFIX) for kind in get_args(VoiceEventType)), "gap")
_TRAVEL: Final = frozenset({"joined", "left", "moved"})
"""The types of event that debounce holds."""
CHANGING_TYPES: Final = frozenset({"updated", "moved"})
"""The types of event that can have ``changes``."""


NO_PARAMETERS: Final = "{}"
PARAMETERS_MAX_BYTES: Final = 4096
"""Beside the 200 KiB of a batch's events there is room for it in an execution's input."""


class Route(NamedTuple):
    """Where an event goes; ``batch_max_events`` is ``None`` where the setting decides.

    ``parameters`` are what the rule hands to its workflow: a JSON object, sent as it is.
    """

    workflow: str
    destination: str
    debounce_s: float = 0.0
    batch_max_events: int | None = None
    parameters: str = NO_PARAMETERS

    @property
    def debounce_ms(self) -> int:
        return int(self.debounce_s * 1000)


class Surroundings(NamedTuple):
    """What rules may ask but an event does not say, taken from its payload and its guild.

    ``roles`` are by user id, where the payload has them; ``categories`` are by channel id. ``quiet_gap``
    says of a gap that nothing was found changed after it.
    """

    roles: Mapping[str, Collection[str]] = MappingProxyType({})
    categories: Mapping[str, str] = MappingProxyType({})
    afk_channel_id: str | None = None
    quiet_gap: bool = False


UNKNOWN: Final = Surroundings()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; an absent condition is ``None``. The names are the keys of the file."""

    name: str | None = None
    types: frozenset[str] | None = None
    guilds: frozenset[str] | None = None
    channels: frozenset[str] | None = None
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
            self.workflow, self.destination, self.debounce_s, self.batch_max_events, self.parameters
        )
        return (route,)

    def first_unmet(self, event: Event, around: Surroundings) -> str | None:
        """Return the first condition that *event* does not meet, ``None`` if it meets them all."""
        if self.types is not None and event["type"].removeprefix(PREFIX) not in self.types:
            return "types"
        if self.guilds is not None and event["data"]["guild"]["id"] not in self.guilds:
            return "guilds"
        if event["type"] == "discord.voice.gap" and not self._meets_gap(event, around):
            return "gap_min_s"
        for key, wanted in self.personal_conditions():
            if event["type"] == "discord.voice.gap" or wanted.isdisjoint(FACTS[key](event["data"], around)):
                return key
        return None

    def _meets_gap(self, gap: GapEvent, around: Surroundings) -> bool:
        length_s = measure_gap(gap)
        return not around.quiet_gap or length_s is None or length_s >= self.gap_min_s

    def meets_travel(self, event: VoiceEvent, around: Surroundings) -> bool:
        """Tell whether the rule is about *event* but for its type and what changed in it."""
        if self.types is not None and not self.types & _TRAVEL:
            return False
        if self.guilds is not None and event["data"]["guild"]["id"] not in self.guilds:
            return False
        return not any(
            wanted.isdisjoint(FACTS[key](event["data"], around))
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
        self.rules = tuple(rules)
        self._index = {PREFIX + type_: _build_index(type_, self.rules) for type_ in TYPES if type_ != "gap"}
        self.asks_around = any(rule.roles or rule.categories or rule.afk is not None for rule in self.rules)
        """Whether any rule asks for an event's surroundings; otherwise they need not be gathered."""
        self.debounce = any(route.debounce_ms for rule in self.rules for route in rule.routes)
        """Whether any rule has events held back."""

    def route(self, event: Event, around: Surroundings = UNKNOWN) -> Sequence[Route]:
        """Return where *event* goes, each workflow and destination once; empty for nowhere."""
        if event["type"] == "discord.voice.gap":
            return self._route_gap(event, around)
        always, facts, by_guild, elsewhere = self._index[event["type"]]
        if always is not None:
            return always
        data: Any = event["data"]
        so = [fact(data, around) for fact in facts] if facts else ()
        found: dict[tuple[str, str], Route] = {}
        for conditions, key, routes, continues in by_guild.get(data["guild"]["id"], elsewhere):
            for column, wanted in conditions:
                if wanted.isdisjoint(so[column]):
                    break
            else:
                if not (found or continues):
                    return routes
                for route in routes:
                    found.setdefault(key, route)
                if not continues:
                    break
        return tuple(found.values())

    def _route_gap(self, gap: GapEvent, around: Surroundings) -> Sequence[Route]:
        """Return where a gap goes: there are too few of them to need an index."""
        found: dict[tuple[str, str], Route] = {}
        for verdict in self.explain(gap, around):
            for route in verdict.rule.routes if verdict.unmet is None else ():
                found.setdefault((route.workflow, route.destination), route)
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


def measure_gap(gap: GapEvent) -> float | None:
    """Return for how many seconds nothing was watched, ``None`` if unknown."""
    since, until = gap["data"]["from"], gap["data"]["until"]
    if since is None:
        return None
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()


def label(number: int, name: str | None) -> str:
    """Return what messages call a rule: its place in the file and its name, if it has one."""
    return f"rule {number} ({name})" if name else f"rule {number}"


_Fact = Callable[[VoiceData, Surroundings], Collection[Any]]


class _Candidate(NamedTuple):
    """A rule as ``route`` asks it; each condition is the number of a fact and the wanted values."""

    conditions: tuple[tuple[int, frozenset[Any]], ...]
    key: tuple[str, str]
    routes: tuple[Route, ...]
    continues: bool


class _Index(NamedTuple):
    """The rules that events of one type can meet; those of guilds that rules name are separate.

    ``always`` is where all these events go, ``None`` where that depends on more than their type.
    """

    always: tuple[Route, ...] | None
    facts: tuple[_Fact, ...]
    by_guild: Mapping[str, Sequence[_Candidate]]
    elsewhere: Sequence[_Candidate]


def _build_index(type_: str, rules: Sequence[Rule]) -> _Index:
    able = [rule for rule in rules if rule.types is None or type_ in rule.types]
    columns = sorted({key for rule in able for key, _ in rule.personal_conditions()})

    def candidates(guild_id: str | None) -> list[_Candidate]:
        return [
            _Candidate(
                tuple((columns.index(key), wanted) for key, wanted in rule.personal_conditions()),
                (rule.workflow, rule.destination),
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


def _channel_ids(data: VoiceData, _: Surroundings) -> Collection[str]:
    channel, previous = data["channel"], data["previous_channel"]
    if previous is None:
        return () if channel is None else (channel["id"],)
    return (previous["id"],) if channel is None else (channel["id"], previous["id"])


def _category_ids(data: VoiceData, around: Surroundings) -> Collection[str | None]:
    return [around.categories.get(channel_id) for channel_id in _channel_ids(data, around)]


FACTS: Final[Mapping[str, _Fact]] = {
    "channels": _channel_ids,
    "categories": _category_ids,
    "users": lambda data, _: (data["user"]["id"],),
    "roles": lambda data, around: around.roles.get(data["user"]["id"], ()),
    "bot": lambda data, _: (data["user"]["bot"],),
    "afk": lambda data, around: (around.afk_channel_id in _channel_ids(data, around),),
    "changed": lambda data, _: data["changes"],
}
"""An event's own values, for the conditions that a gap never meets."""

DEFAULT_RULES: Final = Rules([Rule(types=frozenset({"joined", "left", "moved", "gap"}), gap_min_s=10)])
"""Comings, goings and gaps go to notify; changes of mute, stream and the like go nowhere.

Neither do gaps of a few seconds that hid nothing, as when Discord ends a session.
"""

"""The audit: what was sent against what arrived, and everything that is wrong with it, in words."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from infra.local.audit.comparison import Comparison, compare
from infra.local.audit.consistency import find_contradictions
from infra.local.audit.facts import Event, parse_event
from infra.local.audit.gaps import Life, find_short_gaps
from infra.local.audit.oracle import Expectation, Log, Stretch, expect
from infra.local.discord import Transition

_LAG_S = 0.01


@dataclass(frozen=True)
class Audit:
    """How many transitions were ``sent``, how many of them the relay ``missed``, and how it told of the rest.

    ``reasons`` are those of all gaps that it declared. ``repeated`` has the ids of events that arrived more
    than once, ``short_gaps`` says which gaps do not reach over what they stand for, and ``contradictions``
    where events disagree with each other, or claim to have seen what no session was told of.
    """

    sent: int
    missed: int
    comparison: Comparison
    reasons: set[str]
    repeated: Counter[str]
    short_gaps: Sequence[str]
    contradictions: Sequence[str]

    @property
    def seen(self) -> int:
        return self.comparison.delivered

    @property
    def inferred(self) -> int:
        return self.comparison.inferred

    @property
    def gaps(self) -> int:
        return self.comparison.gaps

    @property
    def exact(self) -> bool:
        """Whether everything arrived once and in order, and what was not seen was declared and inferred."""
        return (
            self.comparison.complete
            and self.comparison.misplaced == 0
            and not (self.repeated or self.short_gaps or self.contradictions)
        )

    @property
    def faults(self) -> Sequence[str]:
        """What is wrong, in words; there is something unless the audit is ``exact``."""
        return list(self._describe())

    def _describe(self) -> Iterator[str]:
        yield from self.comparison.describe()
        if self.comparison.misplaced:
            yield f"{self.comparison.misplaced} out of order"
        for event_id, count in self.repeated.items():
            yield f"event {event_id} arrived {count} times"
        yield from self.short_gaps
        yield from self.contradictions

    def __add__(self, other: "Audit") -> "Audit":
        """Return the audit of both; they must be of different guilds."""
        return Audit(
            self.sent + other.sent,
            self.missed + other.missed,
            self.comparison + other.comparison,
            self.reasons | other.reasons,
            self.repeated + other.repeated,
            [*self.short_gaps, *other.short_gaps],
            [*self.contradictions, *other.contradictions],
        )


def audit(
    transitions: Collection[Transition],
    events: Iterable[Event],
    *,
    stretches: Sequence[Stretch] | None = None,
    lives: Sequence[Life] = (),
    lag_s: float = _LAG_S,
    open_gaps: bool = False,
    resumed: bool = False,
) -> Audit:
    """Hold all *events* that arrived, in their order within a guild, against all *transitions* there were.

    Without *stretches*, in which the relay may have been blind, each gap that it declared is believed. With
    *open_gaps*, a gap need not say when it began. Where sessions were *resumed*, a duration may be absent.
    For *lives* and *lag_s* see ``find_short_gaps``.
    """
    by_guild: dict[str, list[Event]] = {transition.guild_id: [] for transition in transitions}
    for event in events:
        by_guild.setdefault(event["data"]["guild"]["id"], []).append(event)
    audits = []
    for guild_id, arrived in by_guild.items():
        log = Log.build(guild_id, transitions)
        expected = expect(log, list(map(parse_event, arrived)), stretches)
        found = audit_guild(
            log, expected, arrived, lives=lives, lag_s=lag_s, open_gaps=open_gaps, resumed=resumed
        )
        audits.append(found)
    return reduce(add, audits, _NOTHING)


def audit_guild(
    log: Log,
    expected: Expectation,
    events: Sequence[Event],
    *,
    lives: Sequence[Life] = (),
    lag_s: float = _LAG_S,
    open_gaps: bool = False,
    resumed: bool = False,
) -> Audit:
    """Audit the *events* of one guild against what was *expected* of it."""
    ids = Counter(event["id"] for event in events)
    facts = list(map(parse_event, events))
    return Audit(
        sent=len(log.facts),
        missed=len(log.facts) - len(expected.seen),
        comparison=compare(expected.facts, facts),
        reasons={fact.gap_reason for fact in facts if fact.gap_reason is not None},
        repeated=Counter({event_id: count for event_id, count in ids.items() if count > 1}),
        short_gaps=list(find_short_gaps(log, expected, events, lives, lag_s=lag_s)),
        contradictions=[
            *(f"transition {place} cannot have been seen" for place in log.find_unseeable(expected.seen)),
            *find_contradictions(events, open_gaps=open_gaps, resumed=resumed),
        ],
    )


_NOTHING = Audit(0, 0, compare([], []), set(), Counter(), (), ())

"""Compares what was found with what was expected: what is missing, doubled, made up or out of order."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infra.local.audit.facts import Fact

_MOST_DESCRIBED = 3


@dataclass(frozen=True)
class Comparison:
    """How what was found differs from what was expected.

    ``duplicated`` was found more often than expected, ``invented`` was never expected. ``misplaced`` counts
    what is out of order within its guild. Of the ``guilds`` of which anything was expected or found,
    ``exact_guilds`` have just that, in its order.
    """

    expected: Counter[Fact]
    lost: Counter[Fact]
    duplicated: Counter[Fact]
    invented: Counter[Fact]
    misplaced: int
    guilds: int
    exact_guilds: int

    @property
    def delivered(self) -> int:
        """How many of the transitions that were seen were found, each counted once."""
        return _count(self._found, inferred=False, gap=False)

    @property
    def inferred(self) -> int:
        """How many of the events to infer were found."""
        return _count(self._found, inferred=True, gap=False)

    @property
    def gaps(self) -> int:
        """How many of the gaps to declare were found."""
        return _count(self._found, inferred=False, gap=True)

    @property
    def inferred_expected(self) -> int:
        return _count(self.expected, inferred=True, gap=False)

    @property
    def gaps_expected(self) -> int:
        return _count(self.expected, inferred=False, gap=True)

    @property
    def _found(self) -> Counter[Fact]:
        return self.expected - self.lost

    @property
    def complete(self) -> bool:
        """Whether nothing is missing and nothing too much, in whatever order."""
        return not (self.lost or self.duplicated or self.invented)

    def describe(self) -> Iterator[str]:
        """Yield the most frequent differences of each kind, in words."""
        kinds = {"lost": self.lost, "doubled": self.duplicated, "never happened": self.invented}
        for what, facts in kinds.items():
            for fact, count in facts.most_common(_MOST_DESCRIBED):
                where = " to ".join(filter(None, (fact.previous_channel_id, fact.channel_id)))
                yield f"{what}: {count} × {fact.kind}, user {fact.user_id or '?'}, channel {where or '?'}"

    def __add__(self, other: "Comparison") -> "Comparison":
        """Return the comparison of both; they must be of different guilds."""
        return Comparison(
            self.expected + other.expected,
            self.lost + other.lost,
            self.duplicated + other.duplicated,
            self.invented + other.invented,
            self.misplaced + other.misplaced,
            self.guilds + other.guilds,
            self.exact_guilds + other.exact_guilds,
        )


def _count(facts: Counter[Fact], *, inferred: bool, gap: bool) -> int:
    return sum(
        count
        for fact, count in facts.items()
        if fact.inferred is inferred and (fact.gap_reason is not None) is gap
    )


def compare(expected: Sequence[Fact], found: Sequence[Fact]) -> Comparison:
    """Compare *found* with *expected*; both are in order."""
    surplus = Counter(found) - Counter(expected)
    known = set(expected)
    wanted, got = _by_guild(expected), _by_guild(found)
    guilds = wanted.keys() | got.keys()
    return Comparison(
        expected=Counter(expected),
        lost=Counter(expected) - Counter(found),
        duplicated=Counter({fact: count for fact, count in surplus.items() if fact in known}),
        invented=Counter({fact: count for fact, count in surplus.items() if fact not in known}),
        misplaced=sum(_count_misplaced(wanted[guild], got[guild]) for guild in guilds),
        guilds=len(guilds),
        exact_guilds=sum(wanted[guild] == got[guild] for guild in guilds),
    )


def _by_guild(facts: Sequence[Fact]) -> defaultdict[str, list[Fact]]:
    by_guild: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_guild[fact.guild_id].append(fact)
    return by_guild


def _count_misplaced(expected: Sequence[Fact], found: Sequence[Fact]) -> int:
    """Return how many that both have are not in the longest sequence that both have in the same order.

    So neither a loss nor a double makes its neighbours look out of order. Takes time by the product of both,
    but for what they have in common at their beginning.
    """
    same = 0
    while same < min(len(expected), len(found)) and expected[same] == found[same]:
        same += 1
    expected, found = expected[same:], found[same:]
    longest = [0] * (len(found) + 1)
    for fact in expected:
        diagonal = 0
        for index, other in enumerate(found, start=1):
            above = longest[index]
            longest[index] = diagonal + 1 if fact == other else max(above, longest[index - 1])
            diagonal = above
    return (Counter(expected) & Counter(found)).total() - longest[-1]

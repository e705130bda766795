"""Holds what was found against what was expected: what is missing, what is twice, what never happened."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from infra.local.demo.facts import Fact


@dataclass(frozen=True)
class Comparison:
    """How what was found differs from what was expected.

    ``invented`` is what was found and never expected; ``misplaced`` counts what stands elsewhere than its
    order within its guild would have it.
    """

    expected: Counter[Fact]
    lost: Counter[Fact]
    duplicated: Counter[Fact]
    invented: Counter[Fact]
    misplaced: int

    @property
    def delivered(self) -> int:
        """How many of the transitions that were seen were found, each counted once."""
        return _count(self._found, inferred=False, gap=False)

    @property
    def inferred_expected(self) -> int:
        return _count(self.expected, inferred=True, gap=False)

    @property
    def gaps_expected(self) -> int:
        return _count(self.expected, inferred=False, gap=True)

    @property
    def inferred(self) -> int:
        """How many of the events to infer were found."""
        return _count(self._found, inferred=True, gap=False)

    @property
    def gaps(self) -> int:
        """How many of the gaps to declare were found."""
        return _count(self._found, inferred=False, gap=True)

    @property
    def _found(self) -> Counter[Fact]:
        return self.expected - self.lost

    @property
    def complete(self) -> bool:
        return not (self.lost or self.duplicated or self.invented)


def _count(facts: Counter[Fact], *, inferred: bool, gap: bool) -> int:
    return sum(
        count
        for fact, count in facts.items()
        if fact.inferred is inferred and (fact.gap_reason is not None) is gap
    )


def compare(expected: Sequence[Fact], found: Sequence[Fact]) -> Comparison:
    """Hold *found* against *expected*; both are in order."""
    surplus = Counter(found) - Counter(expected)
    known = set(expected)
    expected_by_guild, found_by_guild = _by_guild(expected), _by_guild(found)
    return Comparison(
        expected=Counter(expected),
        lost=Counter(expected) - Counter(found),
        duplicated=Counter({fact: count for fact, count in surplus.items() if fact in known}),
        invented=Counter({fact: count for fact, count in surplus.items() if fact not in known}),
        misplaced=sum(_misplaced(those, found_by_guild[guild]) for guild, those in expected_by_guild.items()),
    )


def _by_guild(facts: Sequence[Fact]) -> defaultdict[str, list[Fact]]:
    by_guild: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_guild[fact.guild_id].append(fact)
    return by_guild


def _misplaced(expected: Sequence[Fact], found: Sequence[Fact]) -> int:
    """Return how many that both have are not in the longest sequence that both have in the same order.

    So neither a loss nor a double makes its neighbours look out of order. Takes time by the product of both.
    """
    longest = [0] * (len(found) + 1)
    for fact in expected:
        diagonal = 0
        for index, other in enumerate(found, start=1):
            above = longest[index]
            longest[index] = diagonal + 1 if fact == other else max(above, longest[index - 1])
            diagonal = above
    return (Counter(expected) & Counter(found)).total() - longest[-1]

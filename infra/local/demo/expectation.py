"""What ought to have been delivered, given that the bot was blind at times.

A transition that the bot saw is to be delivered as it is. Of those that happened while it was blind only what
they come to can be known afterwards, person by person, and that is to follow a gap as inferred events.

Nobody can tell from outside which was the last transition that a bot saw before it was killed. So a stretch
says only where its blindness begins at the earliest and ends at the latest, and where within it the bot
really stopped and began to see is read off what was delivered: wherever that makes the fewest differences.
Whatever stays different after that is lost, doubled or invented. If nothing is, the delivered events lead to
the very places that the guild's members were in after each stretch.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from infra.local.demo.facts import Fact, Places, build_gap, infer


class Stretch(NamedTuple):
    """From ``began`` to before ``ended``, by their places in the log, transitions may have gone unseen."""

    reason: str
    began: int
    ended: int


class Log(NamedTuple):
    """All that happened in one guild; ``places`` has one entry more, who was where before and after each."""

    guild_id: str
    facts: Sequence[Fact]
    places: Sequence[Places]


@dataclass(frozen=True)
class Expectation:
    """``facts`` is what ought to have been delivered, in order; ``seen`` the places in the log of those of
    them that the bot saw. ``unseen`` has for each gap that was declared and expected its number among those
    declared, and the places in the log that it stands for.
    """

    facts: Sequence[Fact]
    seen: Sequence[int]
    unseen: Sequence[tuple[int, range]]


def expect(log: Log, stretches: Sequence[Stretch], delivered: Sequence[Fact]) -> Expectation:
    """Return what ought to have been delivered; *stretches* are in order and apart from each other."""
    pieces = _take_apart(stretches, delivered)
    blind = {piece.stretch: cut for piece, cut in zip(pieces[1:], _choose_cuts(log, pieces), strict=True)}
    guesses = {piece.stretch: piece.inferred for piece in pieces}
    facts: list[Fact] = []
    seen: list[int] = []
    at = 0
    for stretch in stretches:
        # A stretch that was not declared is no excuse: all of it ought to have been seen.
        cut = blind.get(stretch, range(stretch.ended, stretch.ended))
        seen.extend(range(at, cut.start))
        facts.extend(log.facts[at : cut.start])
        facts.append(build_gap(log.guild_id, stretch.reason))
        facts.extend(_infer_in_order(log, cut, guesses.get(stretch, ())))
        at = cut.stop
    seen.extend(range(at, len(log.facts)))
    facts.extend(log.facts[at:])
    unseen = [(piece.gap, blind[piece.stretch]) for piece in pieces[1:] if piece.stretch is not None]
    return Expectation(facts, seen, unseen)


@dataclass
class _Piece:
    """What was delivered from one declared gap to the next; the first piece begins with none."""

    stretch: Stretch | None = None
    gap: int = -1
    inferred: list[Fact] = field(default_factory=list)
    seen: list[Fact] = field(default_factory=list)


def _take_apart(stretches: Sequence[Stretch], delivered: Sequence[Fact]) -> list[_Piece]:
    """Cut what was delivered at the gaps that have a stretch; any other is simply one too many."""
    pieces = [_Piece()]
    to_come = deque(stretches)
    gap = -1
    for fact in delivered:
        if fact.gap_reason is not None:
            gap += 1
            if any(stretch.reason == fact.gap_reason for stretch in to_come):
                while (stretch := to_come.popleft()).reason != fact.gap_reason:
                    pass
                pieces.append(_Piece(stretch, gap))
        else:
            (pieces[-1].inferred if fact.inferred else pieces[-1].seen).append(fact)
    return pieces


def _choose_cuts(log: Log, pieces: Sequence[_Piece]) -> Sequence[range]:
    """Return for each piece but the first what was unseen in its stretch, by the fewest differences."""
    # By where the last cut ended: how many differences there are up to there, and the cuts.
    best: dict[int, tuple[int, tuple[tuple[int, int], ...]]] = {0: (0, ())}
    for before, piece in pairwise(pieces):
        assert piece.stretch is not None  # noqa: S101  # only the first has none
        candidates = range(piece.stretch.began, piece.stretch.ended + 1)
        longer: dict[int, tuple[int, tuple[tuple[int, int], ...]]] = {}
        for began in candidates:
            cost, cuts = min(
                (cost + _differences(log.facts[since:began], before.seen), cuts)
                for since, (cost, cuts) in best.items()
            )
            for ended in candidates[began - candidates.start :]:
                net = list(_infer(log, range(began, ended)))
                option = (cost + _differences(net, piece.inferred), (*cuts, (began, ended)))
                longer[ended] = min(longer.get(ended, option), option)
        best = longer
    _, chosen = min(
        (cost + _differences(log.facts[since:], pieces[-1].seen), cuts)
        for since, (cost, cuts) in best.items()
    )
    return [range(*cut) for cut in chosen]


def _differences(one: Sequence[Fact], other: Sequence[Fact]) -> int:
    counts, others = Counter(one), Counter(other)
    return (counts - others).total() + (others - counts).total()


def _infer(log: Log, unseen: range) -> Iterator[Fact]:
    return infer(log.guild_id, log.places[unseen.start], log.places[unseen.stop])


def _infer_in_order(log: Log, unseen: range, guessed: Sequence[Fact]) -> list[Fact]:
    """Return what is to be inferred, in the order of *guessed*: persons have none among themselves."""
    order = {fact: place for place, fact in enumerate(guessed)}
    return sorted(_infer(log, unseen), key=lambda fact: (order.get(fact, len(order)), fact.user_id))

"""Which transitions each gap stands for: the cuts in the log that explain what was delivered.

What was delivered falls into pieces, each but the first with a gap at its head::

    gap, inferred*, seen*

The seen facts of a piece must be an unbroken part of the log, in order; the inferred ones must be the net
difference of what the cut before them takes out. Cuts that explain everything exactly are looked for first,
each as early as possible: what fits after a later cut fits after an earlier one too. If there are none, the
cuts that leave the fewest differences are chosen among all, which takes too long for more than a short log.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Self

from infra.local.audit.facts import Fact, parse_transition
from infra.local.audit.places import Places, infer, trace
from infra.local.discord import Transition

_MOST_CUTS = 5_000
"""Possible cuts, of all gaps together, among which the closest are chosen; it takes about a second."""


class Stretch(NamedTuple):
    """From ``began`` to before ``ended``, by their places in the log, transitions may have gone unseen."""

    reason: str
    began: int
    ended: int


@dataclass(frozen=True)
class Log:
    """All that ever happened in one guild, beginning with nobody in voice.

    ``places`` has one entry more than the others: who was where before and after each transition.
    """

    guild_id: str
    transitions: Sequence[Transition]
    facts: Sequence[Fact]
    places: Sequence[Places]

    @classmethod
    def build(cls, guild_id: str, transitions: Iterable[Transition]) -> Self:
        """Take the transitions of the guild out of all *transitions*."""
        own = [transition for transition in transitions if transition.guild_id == guild_id]
        return cls(guild_id, own, list(map(parse_transition, own)), list(trace(own)))

    def find_unseeable(self, places: Iterable[int]) -> list[int]:
        """Return those of *places* whose transition no session was told of."""
        return [place for place in places if self.transitions[place].reach == "unseen"]

    def infer(self, missed: range) -> Iterator[Fact]:
        """Yield the net difference that the *missed* transitions made."""
        return infer(self.guild_id, self.places[missed.start], self.places[missed.stop])


@dataclass
class Piece:
    """What was delivered from one declared gap to the next; the first piece begins with none.

    ``stretch`` is the number of the stretch that the gap declares, ``gap`` its own number among all gaps.
    """

    stretch: int = -1
    gap: int = -1
    inferred: list[Fact] = field(default_factory=list)
    seen: list[Fact] = field(default_factory=list)


def take_apart(stretches: Sequence[Stretch], delivered: Sequence[Fact]) -> list[Piece]:
    """Cut what was delivered at the gaps that have a stretch; any other gap is simply one too many."""
    pieces = [Piece()]
    to_come = deque(enumerate(stretches))
    gap = -1
    for fact in delivered:
        if fact.gap_reason is not None:
            gap += 1
            if any(stretch.reason == fact.gap_reason for _, stretch in to_come):
                while (found := to_come.popleft())[1].reason != fact.gap_reason:
                    pass
                pieces.append(Piece(found[0], gap))
        else:
            (pieces[-1].inferred if fact.inferred else pieces[-1].seen).append(fact)
    return pieces


def align(log: Log, stretches: Sequence[Stretch], pieces: Sequence[Piece]) -> Sequence[range]:
    """Return the cut of each piece but the first.

    There are fewer if from some piece on nothing fits exactly, and there are too many cuts to choose from.
    """
    windows = [stretches[piece.stretch] for piece in pieces[1:]]
    exact = _fit(log, windows, pieces)
    if len(exact) == len(windows) or _count_cuts(windows) > _MOST_CUTS:
        return exact
    return _choose_closest(log, windows, pieces)


def _count_cuts(windows: Iterable[Stretch]) -> int:
    return sum((window.ended - window.began + 1) ** 2 for window in windows)


def _fit(log: Log, windows: Sequence[Stretch], pieces: Sequence[Piece]) -> list[range]:
    """Return the earliest cuts that explain the pieces exactly, up to the first piece that has none."""
    first, *rest = pieces
    at = len(first.seen)
    cuts: list[range] = []
    if first.inferred or log.facts[:at] != first.seen:
        return cuts
    for piece, window in zip(rest, windows, strict=True):
        cut = _find_cut(log, window, piece, at, last=piece is pieces[-1])
        if cut is None:
            break
        cuts.append(cut)
        at = cut.stop + len(piece.seen)
    return cuts


def _find_cut(log: Log, window: Stretch, piece: Piece, start: int, *, last: bool) -> range | None:
    """Return the shortest cut from *start* on that explains *piece*; what follows the *last* is the end."""
    if not window.began <= start <= window.ended:
        return None
    end = len(log.facts) - len(piece.seen)
    inferred = Counter(piece.inferred)
    for stop in range(max(start, end) if last else start, min(window.ended, end) + 1):
        if piece.seen and log.facts[stop] != piece.seen[0]:
            continue
        seen = range(stop, stop + len(piece.seen))
        if log.facts[stop : seen.stop] != piece.seen or log.find_unseeable(seen):
            continue
        if Counter(log.infer(range(start, stop))) == inferred:
            return range(start, stop)
    return None


def _choose_closest(log: Log, windows: Sequence[Stretch], pieces: Sequence[Piece]) -> Sequence[range]:
    """Return the cuts that leave the fewest differences."""
    # By where the last cut ended: how many differences there are up to there, and the cuts.
    best: dict[int, tuple[int, tuple[tuple[int, int], ...]]] = {0: (0, ())}
    for (before, piece), window in zip(pairwise(pieces), windows, strict=True):
        longer: dict[int, tuple[int, tuple[tuple[int, int], ...]]] = {}
        for began in range(window.began, window.ended + 1):
            reached = [
                (cost + _count_differences(log.facts[since:began], before.seen), cuts)
                for since, (cost, cuts) in best.items()
                if since <= began
            ]
            if not reached:
                continue
            cost, cuts = min(reached)
            for ended in range(began, window.ended + 1):
                net = list(log.infer(range(began, ended)))
                option = (cost + _count_differences(net, piece.inferred), (*cuts, (began, ended)))
                longer[ended] = min(longer.get(ended, option), option)
        best = longer
    _, chosen = min(
        (cost + _count_differences(log.facts[since:], pieces[-1].seen), cuts)
        for since, (cost, cuts) in best.items()
    )
    return [range(*cut) for cut in chosen]


def _count_differences(one: Sequence[Fact], other: Sequence[Fact]) -> int:
    counts, others = Counter(one), Counter(other)
    return (counts - others).total() + (others - counts).total()

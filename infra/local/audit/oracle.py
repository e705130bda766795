"""What ought to have been delivered, given that the relay was blind at times.

A transition that the relay saw must be delivered as it is. Of those that happened while it was blind, only
the net effect on each person can be known afterwards; it must follow a gap, as inferred events.

Which transition a relay saw last before it was killed cannot be observed from outside. So a stretch only says
where the blindness begins at the earliest and ends at the latest. The cut within it, from the first missed
transition to the first that was seen again, is read off what was delivered: ``alignment`` finds the cuts that
explain it best. What differs from the expectation after that is lost, doubled or invented. If nothing does,
the delivered events lead to the very places that the members were in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from infra.local.audit.alignment import Log, Stretch, align, take_apart
from infra.local.audit.facts import Fact, build_gap

__all__ = ["Expectation", "Log", "Stretch", "expect"]


@dataclass(frozen=True)
class Expectation:
    """``facts`` is what ought to have been delivered, in order.

    ``seen`` has the places in the log of those facts that the relay saw; ``missed`` has for each gap that was
    declared and expected its number among the declared ones, and the places in the log that it stands for.
    """

    facts: Sequence[Fact]
    seen: Sequence[int]
    missed: Sequence[tuple[int, range]]


def expect(log: Log, delivered: Sequence[Fact], stretches: Sequence[Stretch] | None = None) -> Expectation:
    """Return what ought to have been delivered; *stretches* are in order and apart from each other.

    Without *stretches*, every declared gap is believed: it may stand for anything that fits.
    """
    if stretches is None:
        reasons = [fact.gap_reason for fact in delivered if fact.gap_reason is not None]
        stretches = [Stretch(reason, 0, len(log.facts)) for reason in reasons]
    pieces = take_apart(stretches, delivered)
    cuts = dict(zip((piece.stretch for piece in pieces[1:]), align(log, stretches, pieces), strict=False))
    guesses = {piece.stretch: piece.inferred for piece in pieces}
    facts: list[Fact] = []
    seen: list[int] = []
    at = 0
    for number, stretch in enumerate(stretches):
        # A stretch that was not declared, or that nothing explains, is no excuse: all of it must be seen.
        cut = cuts.get(number, range(max(at, stretch.ended), max(at, stretch.ended)))
        seen.extend(range(at, cut.start))
        facts.extend(log.facts[at : cut.start])
        facts.append(build_gap(log.guild_id, stretch.reason))
        facts.extend(_infer_in_order(log, cut, guesses.get(number, ())))
        at = cut.stop
    seen.extend(range(at, len(log.facts)))
    facts.extend(log.facts[at:])
    missed = [(piece.gap, cuts[piece.stretch]) for piece in pieces[1:] if piece.stretch in cuts]
    return Expectation(facts, seen, missed)


def _infer_in_order(log: Log, missed: range, guessed: Sequence[Fact]) -> list[Fact]:
    """Return what must be inferred, in the order of *guessed*: there is none between persons."""
    order = {fact: place for place, fact in enumerate(guessed)}
    return sorted(log.infer(missed), key=lambda fact: (order.get(fact, len(order)), fact.user_id))

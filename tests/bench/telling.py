"""How a bot told of what happened, by the shared comparison; for a bot that says less than the relay, too."""

from collections.abc import Iterable
from dataclasses import dataclass

from infra.local.audit import Event, Fact, compare, parse_event, parse_transition
from infra.local.discord import Transition


@dataclass(frozen=True, slots=True)
class Telling:
    """How *sent* transitions were told. ``wrong`` ones arrived as something that did not happen.

    A transition counts as right if anything like it was told of its guild at any time, which favours a bot
    that tells them out of order. ``exact_guilds`` counts the guilds that were told of exactly, in order.
    """

    sent: int
    right: int
    wrong: int
    lost: int
    doubled: int
    guilds: int
    exact_guilds: int


def read_telling(sent: Iterable[Transition], events: Iterable[Event]) -> Telling:
    """Compare the *events* that arrived, in order of arrival, with what the stand-in *sent*."""
    happened = [_reduce(parse_transition(transition)) for transition in sent]
    comparison = compare(happened, [_reduce(parse_event(event)) for event in events])
    missing = comparison.lost.total()
    surplus = comparison.duplicated.total() + comparison.invented.total()
    wrong = min(missing, surplus)
    return Telling(
        sent=len(happened),
        right=comparison.delivered,
        wrong=wrong,
        lost=missing - wrong,
        doubled=surplus - wrong,
        guilds=comparison.guilds,
        exact_guilds=comparison.exact_guilds,
    )


def _reduce(fact: Fact) -> Fact:
    """Leave out what a plain bot does not say or says otherwise: flags, and changes on joining or leaving."""
    return fact._replace(changes=fact.changes if fact.kind in ("moved", "updated") else (), flags=None)

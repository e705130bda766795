"""What was sent against what arrived."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.discord import Transition

Told = tuple[str, str, str | None, str | None, tuple[tuple[str, bool], ...]]
"""Kind, user, channel, previous channel, changed flags."""


@dataclass(frozen=True, slots=True)
class Account:
    """How *sent* transitions were told. ``wrong`` ones arrived as something that did not happen.

    Each of the others counts as right if anything like it was told of its guild at any time, which favours
    whoever tells them out of order. ``guilds_exact`` counts guilds that were told of exactly, in order.
    """

    sent: int
    right: int
    wrong: int
    lost: int
    doubled: int
    guilds: int
    guilds_exact: int


def compare(sent: Iterable[Transition], events: Iterable[Mapping[str, Any]]) -> Account:
    """Hold the *events* that arrived, in order of arrival, against what the stand-in *sent*."""
    truth: defaultdict[str, list[Told]] = defaultdict(list)
    told: defaultdict[str, list[Told]] = defaultdict(list)
    for transition in sent:
        truth[transition.guild_id].append(_truth(transition))
    for event in events:
        told[event["data"]["guild"]["id"]].append(_told(event))
    missing = excess = right = 0
    for guild_id in truth.keys() | told.keys():
        wanted, got = Counter(truth[guild_id]), Counter(told[guild_id])
        missing += (wanted - got).total()
        excess += (got - wanted).total()
        right += (wanted & got).total()
    wrong = min(missing, excess)
    return Account(
        sent=sum(map(len, truth.values())),
        right=right,
        wrong=wrong,
        lost=missing - wrong,
        doubled=excess - wrong,
        guilds=len(truth),
        guilds_exact=sum(truth[guild_id] == told[guild_id] for guild_id in truth),
    )


def _truth(transition: Transition) -> Told:
    kind, _, user, channel, previous, changes, *_ = transition
    return kind, user, channel, previous, _changes(kind, changes)


def _told(event: Mapping[str, Any]) -> Told:
    data = event["data"]
    kind = event["type"].rpartition(".")[2]
    channel, previous = (data[key] and data[key]["id"] for key in ("channel", "previous_channel"))
    return kind, data["user"]["id"], channel, previous, _changes(kind, data["changes"])


def _changes(kind: str, changes: Mapping[str, bool]) -> tuple[tuple[str, bool], ...]:
    # Whoever joins or leaves has no flags to compare with.
    return tuple(sorted(changes.items())) if kind in ("moved", "updated") else ()

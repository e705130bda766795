"""What ought to have been delivered, and what was: the audit that the demo, the tests and the bench share.

    what the stand-in played ──▶ oracle ──▶ what to expect ──┐
                                   ▲                         ├──▶ audit: lost, doubled, invented, misplaced,
    what was delivered ────────────┴─────────────────────────┘    gaps declared too short, contradictions

``oracle`` says what ought to have arrived, given that the relay was blind at times; ``comparison`` counts the
differences; ``gaps`` and ``consistency`` check what events claim beyond that; ``verdict`` puts it together.
"""

from infra.local.audit.comparison import Comparison, compare
from infra.local.audit.facts import Event, Fact, parse_event, parse_transition
from infra.local.audit.gaps import Life
from infra.local.audit.lines import parse_message
from infra.local.audit.oracle import Expectation, Log, Stretch, expect
from infra.local.audit.verdict import Audit, audit, audit_guild

__all__ = [
    "Audit",
    "Comparison",
    "Event",
    "Expectation",
    "Fact",
    "Life",
    "Log",
    "Stretch",
    "audit",
    "audit_guild",
    "compare",
    "expect",
    "parse_event",
    "parse_message",
    "parse_transition",
]

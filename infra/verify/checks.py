"""All checks, in the order in which they are made."""

from collections.abc import Sequence
from typing import Final

from infra.verify import executions, ingress, posts, records, tokens, workflows
from infra.verify.check import Check

CHECKS: Final[Sequence[Check]] = (
    *ingress.CHECKS,
    *tokens.CHECKS,
    *workflows.CHECKS,
    *posts.CHECKS,
    # Among them, actions that no worker takes.
    *executions.CHECKS,
    # What the others have left on record.
    *records.CHECKS,
)

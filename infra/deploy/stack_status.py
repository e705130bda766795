"""What each stack status means for the next operation."""

from collections.abc import Mapping
from typing import Final

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
NO_STACK_YET: Final = frozenset({"REVIEW_IN_PROGRESS"})
"""An empty stack, created along with its first change set."""

REMOVED_FIRST: Final = frozenset({"ROLLBACK_COMPLETE"})
"""What a failed creation leaves behind: empty, and good for nothing but deletion."""

CREATED: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE"})

_DESTROY: Final = "delete it with voice-relay destroy, then deploy again"

STUCK: Final[Mapping[str, str]] = {
    "CREATE_FAILED": f"creation failed and left its resources behind: {_DESTROY}",
    "ROLLBACK_FAILED": f"creation failed and its resources could not be removed: {_DESTROY}",
    "DELETE_FAILED": (
        "some resources could not be deleted: fix what blocks them, then run voice-relay destroy again"
    ),
    "UPDATE_ROLLBACK_FAILED": (
        "an update and its rollback failed: fix the cause, then run "
        "aws cloudformation continue-update-rollback --stack-name {name} (with --resources-to-skip for what "
        "cannot be fixed), and deploy again once it is done"
    ),
    "IMPORT_ROLLBACK_FAILED": (
        "an import and its rollback failed: fix the cause in the console or with aws cloudformation, then "
        "deploy again"
    ),
}
"""Statuses that allow no change set, each with its remedy; ``{name}`` is the stack's name."""

AFTER_FAILURE: Final[Mapping[str, str]] = {
    "ROLLBACK_COMPLETE": "Everything created was removed again; fix this, then deploy again",
    "UPDATE_ROLLBACK_COMPLETE": "The stack is back to what it was and works as before",
    "DELETE_FAILED": "Fix this, then run the same command again",
    **{
        status: f"The stack is in {status}: {remedy}"
        for status, remedy in STUCK.items()
        if status != "DELETE_FAILED"
    },
}
"""The state in which a failed operation leaves the stack."""

IN_PROGRESS: Final = (
    "another operation is in progress ({status}): wait for it, then run the same command again; "
    "aws cloudformation describe-stack-events --stack-name {name} shows its progress"
)

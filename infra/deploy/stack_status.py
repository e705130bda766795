"""What the status of a stack means for whoever wants to change it."""

from collections.abc import Mapping
from typing import Final

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
NO_STACK_YET: Final = frozenset({"REVIEW_IN_PROGRESS"})
"""The shell that a change set of a stack that was never made leaves behind."""

REMOVED_FIRST: Final = frozenset({"ROLLBACK_COMPLETE"})
"""What a failed creation leaves behind: nothing in it, and nothing can be done with it but to delete it."""

CREATED: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE"})

_DESTROY: Final = "delete it with voice-relay destroy, then deploy again"

STUCK: Final[Mapping[str, str]] = {
    "CREATE_FAILED": f"its creation failed, and what was made is still there: {_DESTROY}",
    "ROLLBACK_FAILED": f"its creation failed, and what was made could not be removed: {_DESTROY}",
    "DELETE_FAILED": (
        "it was to be deleted, and a part of it could not be: put right what keeps it, then run "
        "voice-relay destroy again"
    ),
    "UPDATE_ROLLBACK_FAILED": (
        "an update failed, and the way back did too: put right what keeps it, then run "
        "aws cloudformation continue-update-rollback --stack-name {name} (with --resources-to-skip for what "
        "cannot be put right), and deploy again once it is done"
    ),
    "IMPORT_ROLLBACK_FAILED": (
        "an import failed, and the way back did too: put right what keeps it, in the console or with "
        "aws cloudformation, then deploy again"
    ),
}
"""From these no change set leads on; ``{name}`` stands for the stack's."""

AFTER_FAILURE: Final[Mapping[str, str]] = {
    "ROLLBACK_COMPLETE": "What had been made is gone again; put this right, then deploy again",
    "UPDATE_ROLLBACK_COMPLETE": "The stack is as it was before, and works as it did",
    "DELETE_FAILED": "Put this right, then run the same command again",
    **{
        status: f"The stack is in {status}: {remedy}"
        for status, remedy in STUCK.items()
        if status != "DELETE_FAILED"
    },
}
"""How a stack is left by what was tried."""

UNDER_WAY: Final = (
    "another operation is under way ({status}): wait until it is done, then run the same command again; "
    "aws cloudformation describe-stack-events --stack-name {name} shows how far it is"
)

"""Stops ministack's EventBridge from keeping every event that it was ever sent.

Step Functions sends it each execution's start and end with the whole input and output, and ministack reads
the log nowhere. Rules and archives work without it.
"""

from collections import deque

from infra.local.aws.hooks.seam import Seam

_LOG = Seam("ministack.services.eventbridge", "_events_log_list", ())
SEAMS = (
    _LOG,
    # Appends to the log.
    Seam("ministack.services.eventbridge", "_put_events", ("data", "allow_aws_source")),
)


def install() -> None:
    nothing: deque[object] = deque(maxlen=0)
    _LOG.replace(lambda: nothing)

"""Reads back from the embedded AWS which executions there were. Blocking, like botocore."""

import json
import time
from collections.abc import Iterator
from typing import Any

from infra.local.demo.account import Execution

_POLL_S = 0.05


def read_executions(states: Any, machine_arn: str, *, timeout_s: float) -> list[Execution]:
    """Return every execution of the state machine once none is running, or as they are after *timeout_s*."""
    deadline = time.monotonic() + timeout_s
    while any(_list(states, machine_arn, statusFilter="RUNNING")) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return [_describe(states, listed["executionArn"]) for listed in _list(states, machine_arn)]


def _list(states: Any, machine_arn: str, **options: str) -> Iterator[dict[str, Any]]:
    pages = states.get_paginator("list_executions").paginate(stateMachineArn=machine_arn, **options)
    for page in pages:
        yield from page["executions"]


def _describe(states: Any, arn: str) -> Execution:
    execution = states.describe_execution(executionArn=arn)
    return Execution(
        execution["name"],
        execution["status"],
        execution["startDate"].timestamp(),
        json.loads(execution["input"])["events"],
    )

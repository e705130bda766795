"""Reads back from the embedded AWS which executions there were. Blocking, like botocore."""

import json
from collections.abc import Iterator
from typing import Any

from infra.local.demo.account import Execution


class Executions:
    """The executions of the state machine *machine_arn*; *states* is a client of Step Functions."""

    def __init__(self, states: Any, machine_arn: str) -> None:
        self._states = states
        self._machine_arn = machine_arn
        self._events: dict[str, list[dict[str, Any]]] = {}

    def any_running(self) -> bool:
        return any(self._list(statusFilter="RUNNING"))

    def read(self) -> list[Execution]:
        """Return every execution as it is now."""
        return [self._describe(listed["executionArn"]) for listed in self._list()]

    def read_events(self) -> list[dict[str, Any]]:
        """Return the events that executions were started with, in no order; none is read twice."""
        for listed in self._list():
            arn = listed["executionArn"]
            if arn not in self._events:
                self._events[arn] = list(self._describe(arn).events)
        return [event for events in self._events.values() for event in events]

    def _list(self, **options: str) -> Iterator[dict[str, Any]]:
        pages = self._states.get_paginator("list_executions").paginate(
            stateMachineArn=self._machine_arn, **options
        )
        for page in pages:
            yield from page["executions"]

    def _describe(self, arn: str) -> Execution:
        execution = self._states.describe_execution(executionArn=arn)
        return Execution(
            execution["name"],
            execution["status"],
            execution["startDate"].timestamp(),
            json.loads(execution["input"])["events"],
        )

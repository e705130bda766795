"""Runs a workflow and reads its history back."""

import asyncio
import json
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

from infra.local.discord.webhooks import Webhook
from infra.local.machine import SingleMachine

TIMEOUT_S = 60.0
POLL_S = 0.01


@dataclass(frozen=True)
class Ended:
    """An execution that came to its end, what it was given, and its history."""

    given: dict[str, Any]
    status: str
    error: str
    cause: str
    output: Any
    history: list[dict[str, Any]]

    @property
    def entered(self) -> list[str]:
        """The states in the order they were entered: what AWS bills, besides retries."""
        details = [event.get("stateEnteredEventDetails") for event in self.history]
        return [detail["name"] for detail in details if detail]

    @property
    def attempts(self) -> int:
        return sum(event["type"] == "TaskScheduled" for event in self.history)

    def seconds_between(self, first: str, second: str) -> list[float]:
        """How long it took from each event of the first type to the next of the second."""
        starts = [event["timestamp"] for event in self.history if event["type"] == first]
        ends = [event["timestamp"] for event in self.history if event["type"] == second]
        return [(end - start).total_seconds() for start, end in zip(starts, ends, strict=True)]


class Relay:
    """Runs the workflows. *scale* is how long a second of waiting lasts."""

    def __init__(self, machine: SingleMachine, webhook: Webhook, scale: float) -> None:
        self.scale = scale
        self.webhook = webhook
        self._states = machine.aws.client("stepfunctions")
        self._outputs = machine.outputs

    async def run(self, *events: Any, destination: Any = "default", workflow: str = "notify") -> Ended:
        given = {"id": uuid.uuid4().hex, "destination": destination, "events": list(events)}
        return await asyncio.to_thread(self._run, given, self._outputs[f"{workflow.title()}StateMachineArn"])

    async def redrive(self, ended: Ended, workflow: str = "notify") -> Ended:
        """Repeat a failed execution from the state that failed, on a copy of the state machine.

        The embedded AWS has no RedriveExecution, which does that in the same execution.
        """
        # https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
        return await asyncio.to_thread(
            self._redrive, ended, self._outputs[f"{workflow.title()}StateMachineArn"]
        )

    def _redrive(self, ended: Ended, machine: str) -> Ended:
        found = self._states.describe_state_machine(stateMachineArn=machine)
        definition = json.loads(found["definition"]) | {"StartAt": ended.entered[-1]}
        copy = self._states.create_state_machine(
            name=f"redrive-{uuid.uuid4().hex}", definition=json.dumps(definition), roleArn=found["roleArn"]
        )
        return self._run(ended.given, copy["stateMachineArn"])

    def _run(self, given: dict[str, Any], machine: str) -> Ended:
        arn = self._states.start_execution(
            stateMachineArn=machine, name=given["id"], input=json.dumps(given)
        )["executionArn"]
        deadline = time.monotonic() + TIMEOUT_S
        while (ended := self._states.describe_execution(executionArn=arn))["status"] == "RUNNING":
            assert time.monotonic() < deadline, "the execution does not end"
            time.sleep(POLL_S)
        return Ended(
            given=given,
            status=ended["status"],
            error=ended.get("error", ""),
            cause=ended.get("cause", ""),
            output=json.loads(ended["output"]) if ended["status"] == "SUCCEEDED" else None,
            history=self._history(arn),
        )

    def _history(self, arn: str) -> list[dict[str, Any]]:
        pages = self._states.get_paginator("get_execution_history").paginate(executionArn=arn)
        return [event for page in pages for event in page["events"]]

    def forget(self) -> None:
        self.webhook.messages.clear()
        self.webhook.answers = Counter()

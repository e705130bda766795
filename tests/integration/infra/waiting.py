"""An execution that waits for a signal, and the signals that tests send to it."""

import json
from dataclasses import dataclass
from typing import Any

from infra.local.aws.credentials import Credentials
from tests.integration.infra.relay import Answer, Relay, wait_for_execution
from tests.support.waiting import read_wait, start_waiting_execution, wait_for_token

ALICE = {"kind": "user", "id": "80351110224678912", "roles": ["5"], "permissions": "0"}
ADMIT = {"admit": {"users": [ALICE["id"]]}}


@dataclass(frozen=True)
class Waiting:
    """An execution that waits."""

    relay: Relay
    arn: str

    @property
    def name(self) -> str:
        return self.arn.rpartition(":")[2]

    def row(self) -> dict[str, Any]:
        return read_wait(self.relay.aws, self.relay.outputs, self.name)

    def until_token_changes(self, before: str | None = None) -> str:
        """Wait until the execution has written a token other than *before*, and return it."""
        return wait_for_token(self.relay.aws, self.relay.outputs, self.name, before=before)

    def signal(
        self, signal: Any = "admit", by: Any = ALICE, *, who: Credentials | None = None, **more: Any
    ) -> Answer:
        return send_signal(self.relay, {"name": self.name, "signal": signal, "by": by, **more}, who=who)

    def finished(self) -> dict[str, Any]:
        return wait_for_execution(self.relay.aws, self.arn)

    def output(self) -> Any:
        ended = self.finished()
        assert ended["status"] == "SUCCEEDED", ended
        return json.loads(ended["output"])


def send_signal(relay: Relay, body: Any, *, who: Credentials | None = None) -> Answer:
    """Send the signal, by default as the bot."""
    return relay.post(relay.url("/executions/signal"), json.dumps(body).encode(), who=who)


def outcome(answer: Answer) -> dict[str, Any]:
    """Unwrap the signal workflow's output from the envelope of its own execution."""
    assert answer.status == 200, answer
    envelope = answer.json()
    assert envelope["status"] == "SUCCEEDED", envelope
    found: dict[str, Any] = json.loads(envelope["output"])
    return found


def failure(answer: Answer) -> tuple[str, str]:
    assert answer.status == 200, answer
    envelope = answer.json()
    assert envelope["status"] == "FAILED", envelope
    return envelope["error"], envelope["cause"]


def start_waiting(
    relay: Relay, *allowed: Any, timeout_s: int = 60, name: str | None = None, wait: bool = True
) -> Waiting:
    """Start an execution that waits once for each of *allowed*, one after another."""
    arn = start_waiting_execution(
        relay.aws, relay.outputs, allowed or (ADMIT,), timeout_s=timeout_s, name=name
    )
    waiting = Waiting(relay, arn)
    if wait:
        waiting.until_token_changes()
    return waiting

"""Requests to the ingress: a new execution, the same one again, or the service's own error."""

import json
from collections.abc import Iterator

import pytest

from infra.deploy.engine import TEMPLATE
from infra.deploy.template import build_template
from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import Relay, Webhook, batch, new_relay, unique
from tooling.template_yaml import load_template

MAX_INPUT_BYTES = 262_144


@pytest.fixture(scope="module")
def slow_relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay whose executions take an hour."""
    template = load_template(build_template(TEMPLATE))
    machine = template["Resources"]["NotifyStateMachine"]["Properties"]
    states = {"Idle": {"Type": "Wait", "Seconds": 3600, "Next": "End"}, "End": {"Type": "Succeed"}}
    machine["DefinitionString"] = json.dumps({"StartAt": "Idle", "States": states})
    path = tmp_path_factory.mktemp("slow") / "relay.json"
    path.write_text(json.dumps(template))
    with EmbeddedAws(retained_executions=2) as aws, Webhook() as webhook:
        yield new_relay(aws, webhook, path)


def _error(relay: Relay, name: str, body: bytes) -> tuple[int, str]:
    answer = relay.start(name, body)
    return answer.status, answer.json()["__type"].rpartition("#")[2]


def test_same_name_and_input_is_idempotent(slow_relay: Relay) -> None:
    name = unique("twice")
    first, second = slow_relay.start(name), slow_relay.start(name)

    assert (first.status, second.status) == (200, 200)
    assert second.json() == first.json()


def test_running_name_with_other_input_conflicts(slow_relay: Relay) -> None:
    name = unique("taken")
    slow_relay.start(name)

    assert _error(slow_relay, name, b'{"other": 1}') == (400, "ExecutionAlreadyExists")


def test_finished_name_conflicts(relay: Relay) -> None:
    """This tells the bot, retrying after a lost answer, that the batch is delivered."""
    name = unique("done")
    relay.start(name)
    relay.finished(name)

    answer = relay.start(name)

    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "__type": "com.amazonaws.swf.service.v2.model#ExecutionAlreadyExists",
        "message": f"Execution Already Exists: '{relay.execution_arn(name)}'",
    }


def test_dropped_execution_keeps_name() -> None:
    with EmbeddedAws(wait_scale=0, retained_executions=2) as aws, Webhook() as webhook:
        relay = new_relay(aws, webhook)
        names = [unique(f"n{number}") for number in range(5)]
        for name in names:
            relay.start(name)
            relay.finished(name)
        kept = aws.client("stepfunctions").list_executions(
            stateMachineArn=relay.outputs["NotifyStateMachineArn"]
        )["executions"]

        assert [execution["name"] for execution in kept] == [names[4], names[3]]
        assert {_error(relay, name, batch(name)) for name in names} == {(400, "ExecutionAlreadyExists")}


def test_keeps_running_executions(slow_relay: Relay) -> None:
    """This embedded AWS retains two executions, but drops only closed ones."""
    names = [unique(f"n{number}") for number in range(4)]
    for name in names:
        slow_relay.start(name)

    states = slow_relay.aws.client("stepfunctions")
    for name in names:
        execution = states.describe_execution(executionArn=slow_relay.execution_arn(name))
        assert execution["status"] == "RUNNING"


def _document(size: int) -> bytes:
    """Build an empty batch of exactly *size* bytes, mostly two-byte characters."""
    empty = json.dumps({"destination": "default", "events": [], "padding": ""}).encode()
    room = size - len(empty)
    padding = ("é" * (room // 2) + "x" * (room % 2)).encode()
    return empty.replace(b'"padding": ""', b'"padding": "' + padding + b'"')


def test_accepts_largest_input(relay: Relay) -> None:
    body = _document(MAX_INPUT_BYTES)
    assert len(body) == MAX_INPUT_BYTES
    name = unique("largest")

    assert relay.start(name, body).status == 200
    assert relay.finished(name)["input"].encode() == body


def test_refuses_larger_input(relay: Relay) -> None:
    assert _error(relay, unique("larger"), _document(MAX_INPUT_BYTES + 1)) == (400, "ValidationException")


@pytest.mark.parametrize("body", [b"{", b"nothing", b'{"a": 1} b'])
def test_refuses_invalid_json(relay: Relay, body: bytes) -> None:
    assert _error(relay, unique("torn"), body) == (400, "InvalidExecutionInput")


@pytest.mark.parametrize("name", ["a b", "a:b", "a/b", "x" * 81, "a*", "<a>"])
def test_refuses_invalid_name(relay: Relay, name: str) -> None:
    assert _error(relay, name, b"{}") == (400, "InvalidName")


def test_requires_name(relay: Relay) -> None:
    """The mapping selects nothing, and API Gateway has no defaults."""
    answer = relay.post(relay.ingress_url, b"{}")

    assert answer.status == 400
    assert "__type" not in answer.json()


def test_name_header_is_case_insensitive(relay: Relay) -> None:
    name = unique("case")

    answer = relay.post(relay.ingress_url, batch(name), {"eXecution-nAme": name})

    assert answer.json()["executionArn"] == relay.execution_arn(name)

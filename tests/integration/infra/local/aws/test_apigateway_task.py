"""The task apigateway:invoke: results, errors and refusals."""

import json
from typing import Any

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import Relay, Webhook, new_relay, unique, wait_for_execution


@pytest.fixture
def own(aws: EmbeddedAws, webhook: Webhook) -> Relay:
    """A relay with a scripted webhook."""
    return new_relay(aws, webhook)


def _run(relay: Relay, definition: dict[str, Any]) -> dict[str, Any]:
    """Run a state machine with the workflow's role, and return the finished execution."""
    states = relay.aws.client("stepfunctions")
    role = states.describe_state_machine(stateMachineArn=relay.outputs["NotifyStateMachineArn"])["roleArn"]
    machine = states.create_state_machine(
        name=unique("machine"),
        roleArn=role,
        definition=json.dumps({"QueryLanguage": "JSONata", **definition}),
    )
    started = states.start_execution(stateMachineArn=machine["stateMachineArn"])
    return wait_for_execution(relay.aws, started["executionArn"])


def _run_task(relay: Relay, **arguments: Any) -> dict[str, Any]:
    """Run one task, and return the finished execution; a caught error becomes "caught <error>"."""
    post = {
        "ApiEndpoint": f"{relay.outputs['ProxyApiId']}.execute-api.{relay.aws.region}.amazonaws.com",
        "Method": "POST",
        "Path": "/destinations/default",
        "AuthType": "IAM_ROLE",
        "RequestBody": {"content": "é"},
    }
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::apigateway:invoke",
        "Arguments": post | arguments,
        "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}],
        "End": True,
    }
    caught = {
        "Type": "Fail",
        "Error": "{% 'caught ' & $states.input.Error %}",
        "Cause": "{% $states.input.Cause %}",
    }
    return _run(relay, {"StartAt": "Task", "States": {"Task": task, "Caught": caught}})


def test_result_has_status_headers_body(own: Relay) -> None:
    own.webhook.headers["X-RateLimit-Remaining"] = "4"

    execution = _run_task(own, Headers={"X-Extra": ["a", "b"]}, QueryParameters={"thread_id": ["1 2"]})

    result = json.loads(execution["output"])
    assert (result["StatusCode"], result["StatusText"]) == (200, "OK")
    assert result["ResponseBody"] == {"id": "1"}
    assert result["Headers"]["X-Ratelimit-Remaining"] == ["4"]
    (posted,) = own.webhook.posted
    assert json.loads(posted.body) == {"content": "é"}
    assert posted.headers["x-extra"] == "a, b"
    assert "thread_id=1" in posted.path
    assert "wait=true" in posted.path


def test_accepts_path_without_slash(own: Relay) -> None:
    assert _run_task(own, Path="destinations/default")["status"] == "SUCCEEDED"


def test_204_succeeds(own: Relay) -> None:
    own.webhook.status, own.webhook.body = 204, b""

    assert _run_task(own)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("status", "body"), [(302, b"moved"), (400, b""), (429, b'{"retry_after": 0.5}'), (500, b"oops")]
)
def test_error_has_status_and_body(own: Relay, status: int, body: bytes) -> None:
    own.webhook.status, own.webhook.body = status, body

    execution = _run_task(own)

    assert (execution["error"], execution.get("cause", "")) == (f"caught ApiGateway.{status}", body.decode())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param({"AuthType": "NO_AUTH"}, "caught ApiGateway.403", id="unsigned"),
        pytest.param({"Path": "/destinations/other"}, "caught ApiGateway.404", id="no such destination"),
        pytest.param(
            {"ApiEndpoint": "discord.com"}, "caught ApiGateway.UnknownHostException", id="not an API's host"
        ),
        pytest.param({"Headers": {"X-Extra": "bare"}}, "States.Runtime", id="header not in an array"),
        pytest.param({"Headers": {"X-Amz-Date": ["x"]}}, "States.Runtime", id="forbidden header"),
        pytest.param({"Method": "TRACE"}, "States.Runtime", id="no such method"),
    ],
)
def test_refuses_invalid_tasks(relay: Relay, arguments: dict[str, Any], error: str) -> None:
    """States.Runtime is never caught, not even by a Catch of States.ALL."""
    assert _run_task(relay, **arguments)["error"] == error


def test_parallel_branches_use_machine_role(own: Relay) -> None:
    """ministack runs branches on their own threads; each must know its state machine."""
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::apigateway:invoke",
        "TimeoutSeconds": 20,
        "Arguments": {
            "ApiEndpoint": f"{own.outputs['ProxyApiId']}.execute-api.{own.aws.region}.amazonaws.com",
            "Method": "POST",
            "Path": "/destinations/default",
            "AuthType": "IAM_ROLE",
            "RequestBody": {},
        },
        "End": True,
    }
    branch = {"StartAt": "Post", "States": {"Post": task}}

    execution = _run(
        own,
        {
            "StartAt": "Both",
            "States": {"Both": {"Type": "Parallel", "Branches": [branch, branch], "End": True}},
        },
    )

    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    assert len(own.webhook.posted) == 2


def test_expressions_do_not_share_time_limit(relay: Relay) -> None:
    """Run concurrently, each of these expressions would exceed the limit of one second."""
    sums = {"Type": "Pass", "Output": "{% $sum([1..4000].($ * 2)) %}", "End": True}
    each = {
        "Type": "Map",
        "Items": "{% [1..48] %}",
        "ItemProcessor": {"StartAt": "Sum", "States": {"Sum": sums}},
        "End": True,
    }

    execution = _run(relay, {"StartAt": "Each", "States": {"Each": each}})

    assert execution["status"] == "SUCCEEDED", execution.get("cause")

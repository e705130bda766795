"""The task apigateway:invoke: its result, its errors, and what it does not take."""

import json
from typing import Any

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import Relay, Webhook, new_relay, unique, wait_for_execution


@pytest.fixture
def own(aws: EmbeddedAws, webhook: Webhook) -> Relay:
    """A relay whose webhook the test scripts."""
    return new_relay(aws, webhook)


def _run(relay: Relay, definition: dict[str, Any]) -> dict[str, Any]:
    """The finished execution of a state machine with the workflow's own role."""
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
    """The finished execution of one task; an error that can be caught comes out as "caught <error>"."""
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


def test_the_result_has_the_status_the_headers_and_the_parsed_body(own: Relay) -> None:
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


def test_takes_a_path_without_its_slash(own: Relay) -> None:
    assert _run_task(own, Path="destinations/default")["status"] == "SUCCEEDED"


def test_204_is_a_success(own: Relay) -> None:
    own.webhook.status, own.webhook.body = 204, b""

    assert _run_task(own)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("status", "body"), [(302, b"moved"), (400, b""), (429, b'{"retry_after": 0.5}'), (500, b"oops")]
)
def test_the_error_has_the_status_and_the_cause_is_the_body(own: Relay, status: int, body: bytes) -> None:
    own.webhook.status, own.webhook.body = status, body

    execution = _run_task(own)

    assert (execution["error"], execution.get("cause", "")) == (f"caught ApiGateway.{status}", body.decode())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param({"AuthType": "NO_AUTH"}, "caught ApiGateway.403", id="not signed"),
        pytest.param({"Path": "/destinations/other"}, "caught ApiGateway.404", id="no such destination"),
        pytest.param(
            {"ApiEndpoint": "discord.com"}, "caught ApiGateway.UnknownHostException", id="no API's host"
        ),
        pytest.param({"Headers": {"X-Extra": "bare"}}, "States.Runtime", id="header not in an array"),
        pytest.param({"Headers": {"X-Amz-Date": ["x"]}}, "States.Runtime", id="forbidden header"),
        pytest.param({"Method": "TRACE"}, "States.Runtime", id="no such method"),
    ],
)
def test_refuses(relay: Relay, arguments: dict[str, Any], error: str) -> None:
    """States.Runtime comes out as it is: the catch of States.ALL does not get it."""
    assert _run_task(relay, **arguments)["error"] == error


def test_a_branch_of_a_parallel_state_is_signed_as_the_same_role(own: Relay) -> None:
    """ministack walks branches on threads of their own; each must know whose execution it is."""
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


def test_an_expression_has_its_second_to_itself(relay: Relay) -> None:
    """Each of these takes a fraction of the second that one may take; side by side they took two for each."""
    sums = {"Type": "Pass", "Output": "{% $sum([1..4000].($ * 2)) %}", "End": True}
    each = {
        "Type": "Map",
        "Items": "{% [1..48] %}",
        "ItemProcessor": {"StartAt": "Sum", "States": {"Sum": sums}},
        "End": True,
    }

    execution = _run(relay, {"StartAt": "Each", "States": {"Each": each}})

    assert execution["status"] == "SUCCEEDED", execution.get("cause")

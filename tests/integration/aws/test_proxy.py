"""What reaches the webhook through the proxy, and what comes back."""

import json

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.aws.relay import Relay, Webhook, new_relay, unique, wait_for_execution


@pytest.fixture
def own(aws: EmbeddedAws, webhook: Webhook) -> Relay:
    """A relay whose webhook the test scripts."""
    return new_relay(aws, webhook)


def _failure(relay: Relay) -> tuple[str, str]:
    name = unique("failing")
    relay.start(name)
    execution = relay.finished(name)
    assert execution["status"] == "FAILED"
    return execution["error"], execution["cause"]


def test_posts_to_exactly_the_webhooks_url_and_waits_for_the_message(own: Relay) -> None:
    name = unique("exact")
    own.start(name)
    own.finished(name)

    (posted,) = own.webhook.posted
    assert (posted.method, posted.path) == ("POST", "/api/webhooks/1234/t0ken-of_webhook?wait=true")


def test_speaks_to_discord_under_the_name_that_discord_asks_for(own: Relay) -> None:
    name = unique("agent")
    own.start(name)
    own.finished(name)

    headers = own.webhook.posted[0].headers
    assert headers["user-agent"].startswith("DiscordBot (https://")
    assert headers["content-type"] == "application/json"
    assert headers["host"] in own.webhook.url


def test_hands_back_the_webhooks_status_and_body_as_the_tasks_error(own: Relay) -> None:
    own.webhook.status = 404
    own.webhook.body = b'{"message": "Unknown Webhook", "code": 10015}'

    execution_error, cause = _failure(own)

    assert "404" in execution_error + cause or "Unknown Webhook" in cause
    assert len(own.webhook.posted) == 1


def test_hides_an_unreachable_webhook_behind_a_503(own: Relay, aws: EmbeddedAws) -> None:
    """And says neither where it is nor why."""
    gone = Webhook()
    with gone:
        relay = new_relay(aws, gone)
    machine = _task_machine(
        relay,
        {
            "ApiEndpoint": _proxy_host(relay),
            "Method": "POST",
            "Path": "/destinations/default",
            "AuthType": "IAM_ROLE",
            "RequestBody": {},
        },
    )

    execution = wait_for_execution(aws, machine)

    assert execution["error"] == "caught ApiGateway.503"
    assert json.loads(execution["cause"]) == {"message": "Service Unavailable"}


def _proxy_host(relay: Relay) -> str:
    return f"{relay.outputs['ProxyApiId']}.execute-api.{relay.aws.region}.amazonaws.com"


def _task_machine(relay: Relay, arguments: object) -> str:
    """Run one apigateway:invoke task as the workflow's own role; the execution's ARN."""
    states = relay.aws.client("stepfunctions")
    role = states.describe_state_machine(stateMachineArn=relay.outputs["NotifyStateMachineArn"])["roleArn"]
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::apigateway:invoke",
        "Arguments": arguments,
        "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}],
        "End": True,
    }
    caught = {
        "Type": "Fail",
        "Error": "{% 'caught ' & $states.input.Error %}",
        "Cause": "{% $states.input.Cause %}",
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "Task", "States": {"Task": task, "Caught": caught}}
    machine = states.create_state_machine(
        name=unique("task"), roleArn=role, definition=json.dumps(definition)
    )["stateMachineArn"]
    return str(states.start_execution(stateMachineArn=machine)["executionArn"])


@pytest.mark.parametrize(("status", "body"), [(429, b'{"retry_after": 0.5}'), (500, b"oops"), (400, b"")])
def test_a_task_fails_with_the_status_in_its_error_and_the_body_as_cause(
    own: Relay, status: int, body: bytes
) -> None:
    own.webhook.status, own.webhook.body = status, body

    execution = wait_for_execution(
        own.aws,
        _task_machine(
            own,
            {
                "ApiEndpoint": _proxy_host(own),
                "Method": "POST",
                "Path": "destinations/default",
                "AuthType": "IAM_ROLE",
                "RequestBody": {"content": "x"},
            },
        ),
    )

    assert (execution["error"], execution.get("cause", "")) == (f"caught ApiGateway.{status}", body.decode())


def test_a_tasks_result_has_status_headers_and_the_parsed_body(own: Relay) -> None:
    own.webhook.headers["X-RateLimit-Remaining"] = "4"

    execution = wait_for_execution(
        own.aws,
        _task_machine(
            own,
            {
                "ApiEndpoint": _proxy_host(own),
                "Method": "POST",
                "Path": "/destinations/default",
                "AuthType": "IAM_ROLE",
                "Headers": {"X-Extra": ["a", "b"]},
                "QueryParameters": {"thread_id": ["1 2"]},
                "RequestBody": {"content": "é"},
            },
        ),
    )

    result = json.loads(execution["output"])
    assert (result["StatusCode"], result["StatusText"]) == (200, "OK")
    assert result["ResponseBody"] == {"id": "1"}
    assert result["Headers"]["X-Ratelimit-Remaining"] == ["4"]
    (posted,) = own.webhook.posted
    assert json.loads(posted.body) == {"content": "é"}
    assert posted.headers["x-extra"] == "a, b"
    assert "thread_id=1" in posted.path
    assert "wait=true" in posted.path


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param({"AuthType": "NO_AUTH"}, "caught ApiGateway.403", id="not signed"),
        pytest.param({"Path": "/destinations/other"}, "caught ApiGateway.404", id="no such destination"),
        pytest.param({"Headers": {"X-Extra": "bare"}}, "States.Runtime", id="header not in an array"),
        pytest.param({"Headers": {"X-Amz-Date": ["x"]}}, "States.Runtime", id="forbidden header"),
        pytest.param({"Method": "TRACE"}, "States.Runtime", id="no such method"),
    ],
)
def test_a_task_is_refused(relay: Relay, arguments: dict[str, object], error: str) -> None:
    """States.Runtime comes out as it is: the machine's catch of States.ALL does not get it."""
    whole = {"ApiEndpoint": _proxy_host(relay), "Method": "POST", "Path": "/destinations/default",
             "AuthType": "IAM_ROLE", "RequestBody": {}}  # fmt: skip

    execution = wait_for_execution(relay.aws, _task_machine(relay, whole | arguments))

    assert execution["error"] == error


def test_a_burst_of_executions_all_come_through(own: Relay) -> None:
    names = [unique(f"burst{number}") for number in range(60)]
    for name in names:
        assert own.start(name).status == 200

    assert {own.finished(name)["status"] for name in names} == {"SUCCEEDED"}
    assert len(own.webhook.posted) == 60


def test_an_expression_has_its_second_to_itself(relay: Relay) -> None:
    """Each of these takes a fraction of the second that one may take; side by side they took two for each."""
    states = relay.aws.client("stepfunctions")
    role = states.describe_state_machine(stateMachineArn=relay.outputs["NotifyStateMachineArn"])["roleArn"]
    sums = {"Type": "Pass", "Output": "{% $sum([1..8000].($ * 2)) %}", "End": True}
    each = {
        "Type": "Map",
        "Items": "{% [1..16] %}",
        "ItemProcessor": {"StartAt": "Sum", "States": {"Sum": sums}},
        "End": True,
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "Each", "States": {"Each": each}}
    machine = states.create_state_machine(
        name=unique("sums"), roleArn=role, definition=json.dumps(definition)
    )

    started = states.start_execution(stateMachineArn=machine["stateMachineArn"])
    execution = wait_for_execution(relay.aws, started["executionArn"])

    assert execution["status"] == "SUCCEEDED", execution.get("cause")

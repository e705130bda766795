"""Status and stop of executions through the ingress: permissions and answers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from infra.local.machine import create_bot_user
from tests.integration.infra.relay import Answer, Relay, Webhook, batch, new_relay, unique, wait_for_execution

FORBIDDEN = (403, b'{"message":"Forbidden"}')


@pytest.fixture(scope="module")
def slow() -> Iterator[Relay]:
    """A relay whose digest runs as long as a test needs it."""
    with EmbeddedAws() as aws, Webhook() as webhook:
        yield new_relay(aws, webhook)


def _found(answer: Answer) -> dict[str, Any]:
    """Unwrap the status workflow's output from the envelope of its own execution."""
    assert answer.status == 200
    envelope = answer.json()
    assert envelope["status"] == "SUCCEEDED", envelope
    found: dict[str, Any] = json.loads(envelope["output"])
    return found


def _failure(answer: Answer) -> tuple[str, str]:
    assert answer.status == 200
    envelope = answer.json()
    assert envelope["status"] == "FAILED"
    return envelope["error"], envelope["cause"]


def _started(relay: Relay, workflow: str = "digest") -> str:
    name = unique("execution")
    return str(relay.start(name, workflow=workflow).json()["executionArn"])


def test_status_of_running_execution(slow: Relay) -> None:
    name = unique("running")
    arn = slow.start(name, workflow="digest").json()["executionArn"]

    found = _found(slow.status(arn))

    assert (found["executionArn"], found["name"], found["status"]) == (arn, name, "RUNNING")
    assert found["input"].encode() == batch(name)
    assert found["startDate"].endswith("Z")
    assert found.keys() == {"executionArn", "name", "status", "startDate", "input"}


def test_brief_status_lacks_input(relay: Relay) -> None:
    name = unique("brief")
    relay.start(name, batch(name))
    relay.finished(name)

    found = _found(relay.status(relay.execution_arn(name), brief=True))

    assert found.keys() == {"executionArn", "name", "status", "startDate", "stopDate", "output"}


def test_status_of_succeeded_execution(relay: Relay) -> None:
    arn = _started(relay, "notify")
    wait_for_execution(relay.aws, arn)

    found = _found(relay.status(arn))

    assert found["status"] == "SUCCEEDED"
    assert json.loads(found["output"]) == {"posted": 1}
    assert found["stopDate"] > found["startDate"]
    assert not found.keys() & {"error", "cause"}


def test_status_of_failed_execution(relay: Relay) -> None:
    name = unique("failed")
    relay.start(name, batch(name, destination="nowhere"))
    relay.finished(name)

    found = _found(relay.status(relay.execution_arn(name)))

    assert (found["status"], found["error"]) == ("FAILED", "ApiGateway.404")
    assert "Not Found" in found["cause"]


def test_stop_records_caller(slow: Relay) -> None:
    arn = _started(slow)

    answer = slow.stop(arn)

    assert answer.status == 200
    assert answer.json().keys() == {"stopDate"}
    found = _found(slow.status(arn, who=slow.operator))
    operator = slow.aws.client("sts", slow.operator).get_caller_identity()["Arn"]
    assert (found["status"], found["error"]) == ("ABORTED", "StoppedByCaller")
    assert found["cause"] == f"stopped by {operator}"


@pytest.fixture(scope="module")
def quick() -> Iterator[Relay]:
    """A relay whose digest takes half a second instead of five minutes."""
    with EmbeddedAws(wait_scale=0.0017) as aws, Webhook() as webhook:
        yield new_relay(aws, webhook)


def test_polls_long_execution_to_end(quick: Relay) -> None:
    """Starting returns at once, and polling the status shows the end."""
    quick.webhook.posted.clear()
    arn = _started(quick)

    seen = [_found(quick.status(arn))]
    while seen[-1]["status"] == "RUNNING":
        assert len(seen) < 100, "the execution does not end"
        seen.append(_found(quick.status(arn)))

    assert [found["status"] for found in seen] == ["RUNNING"] * (len(seen) - 1) + ["SUCCEEDED"]
    assert len(seen) > 1
    assert json.loads(seen[-1]["output"])["posted"] == 1
    assert len(quick.webhook.posted) == 1


def test_stopped_execution_posts_nothing(quick: Relay) -> None:
    quick.webhook.posted.clear()
    arns = [_started(quick), _started(quick)]

    assert quick.stop(arns[0]).status == 200

    # The other one waits as long, so by its end the stopped one would have posted too.
    assert wait_for_execution(quick.aws, arns[1])["status"] == "SUCCEEDED"
    assert len(quick.webhook.posted) == 1
    assert wait_for_execution(quick.aws, arns[0])["status"] == "ABORTED"


def test_stop_during_post_stays_aborted(aws: EmbeddedAws, webhook: Webhook) -> None:
    """Whatever the outcome of the request in flight."""
    relay = new_relay(aws, webhook)
    webhook.answering.clear()
    webhook.status = 404
    arn = _started(relay, "notify")
    while not webhook.posted:
        assert aws.client("stepfunctions").describe_execution(executionArn=arn)["status"] == "RUNNING"

    assert relay.stop(arn).status == 200
    webhook.answering.set()

    # By the time a later one is refused, the stopped one has its answer too.
    assert wait_for_execution(aws, _started(relay, "notify"))["status"] == "FAILED"
    assert _found(relay.status(arn))["status"] == "ABORTED"


@pytest.mark.parametrize("workflow", ["notify", "digest"])
def test_status_of_missing_execution(workflow: str, relay: Relay) -> None:
    arn = relay.execution_arn("never-started", workflow)

    error, cause = _failure(relay.status(arn))

    assert error == "ExecutionNotFound"
    assert arn in cause


@pytest.mark.parametrize("body", [b"{}", b'{"executionArn": null}', b"[]", b'"x"'])
def test_status_needs_execution_arn(body: bytes, relay: Relay) -> None:
    error, cause = _failure(relay.post(relay.url("/executions/status"), body))

    assert error in ("ExecutionNotFound", "ExecutionNotReadable")
    assert cause


def test_status_refuses_invalid_json(relay: Relay) -> None:
    answer = relay.post(relay.url("/executions/status"), b"arn:aws:states")

    assert answer.status == 400
    assert answer.json()["__type"].endswith("#InvalidExecutionInput")


@pytest.mark.parametrize("body", [b"{}", b"no JSON", b"[]"])
def test_stop_needs_execution_arn(body: bytes, relay: Relay) -> None:
    assert relay.post(relay.url("/executions/stop"), body, who=relay.operator).status == 400


@pytest.mark.parametrize(
    "name",
    ["another-relay-notify:x", "{stack}-status:x", "{stack}-heartbeat:x", "{stack}-notify2:x"],
)
def test_status_role_reads_no_other_execution(name: str, relay: Relay) -> None:
    """IAM refuses before anything checks whether the execution exists."""
    account = f"arn:aws:states:{relay.aws.region}:{relay.aws.account_id}"
    arn = f"{account}:execution:{name.format(stack=relay.stack_name)}"

    error, cause = _failure(relay.status(arn))

    assert error == "ExecutionNotReadable"
    assert arn in cause
    assert "is not authorized to perform: states:DescribeExecution" in cause


def test_refuses_execution_of_other_stack(slow: Relay) -> None:
    with Webhook() as webhook:
        other = new_relay(slow.aws, webhook)
    arn = _started(other)

    assert _failure(slow.status(arn, who=slow.operator))[0] == "ExecutionNotReadable"
    refused = slow.stop(arn)

    # The status is the service's own; AWS uses 400 for every refusal.
    assert refused.status in (400, 403)
    assert refused.json()["__type"].endswith("AccessDeniedException")
    assert _found(other.status(arn))["status"] == "RUNNING"


def _stranger(relay: Relay) -> Credentials:
    iam = relay.aws.client("iam")
    nothing = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    policy = iam.create_policy(PolicyName=unique("nothing"), PolicyDocument=json.dumps(nothing))["Policy"]
    return create_bot_user(relay.aws, policy["Arn"], unique("stranger"))


def test_stranger_may_not_use_executions(slow: Relay) -> None:
    arn, stranger = _started(slow), _stranger(slow)

    for answer in (slow.status(arn, who=stranger), slow.stop(arn, who=stranger)):
        assert (answer.status, answer.body) == FORBIDDEN

    assert _found(slow.status(arn))["status"] == "RUNNING"


def test_bot_may_not_stop(slow: Relay) -> None:
    arn = _started(slow)

    answer = slow.stop(arn, who=slow.bot)

    assert (answer.status, answer.body) == FORBIDDEN
    assert _found(slow.status(arn))["status"] == "RUNNING"


@pytest.mark.parametrize("workflow", ["notify", "digest", "heartbeat"])
def test_operator_may_not_start(workflow: str, relay: Relay) -> None:
    answer = relay.start(unique("operator"), workflow=workflow, who=relay.operator)

    assert (answer.status, answer.body) == FORBIDDEN


def test_status_execution_is_not_kept(relay: Relay) -> None:
    """AWS keeps Express executions only in logs; here they would fill the memory."""
    arn = _started(relay, "notify")
    envelope = relay.status(arn).json()

    states = relay.aws.client("stepfunctions")
    with pytest.raises(states.exceptions.ExecutionDoesNotExist):
        states.describe_execution(executionArn=envelope["executionArn"])


def test_heartbeats_may_repeat_names(relay: Relay) -> None:
    """Express executions with the same name are separate, and each counts."""
    name = unique("beat")
    answers = [relay.start(name, b'{"id": "x", "guilds": 2}', workflow="heartbeat") for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 200]
    arns = {answer.json()["executionArn"] for answer in answers}
    assert len(arns) == 2
    assert {wait_for_execution(relay.aws, arn)["status"] for arn in arns} == {"SUCCEEDED"}


def test_start_sync_refuses_standard_workflow(relay: Relay) -> None:
    states = relay.aws.client("stepfunctions")
    # The embedded AWS has no host named sync-….
    states.meta.config.inject_host_prefix = False

    with pytest.raises(Exception, match="StateMachineTypeNotSupported"):
        states.start_sync_execution(stateMachineArn=relay.outputs["NotifyStateMachineArn"])

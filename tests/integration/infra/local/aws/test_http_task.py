"""The task http:invoke and the connections of EventBridge, against a stand-in for a third party."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import botocore.exceptions
import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import POLL_S, TIMEOUT_S, unique, wait_for_execution
from tests.support.third_parties import ThreadedThirdParty, third_party

SECRET_ACTIONS = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]


@pytest.fixture
def party() -> Iterator[ThreadedThirdParty]:
    with third_party() as party:
        yield party


@dataclass
class Caller:
    """A connection, and a state machine whose role may call the API through it."""

    aws: EmbeddedAws
    party: ThreadedThirdParty
    name: str
    statements: list[dict[str, Any]]

    @property
    def connection(self) -> dict[str, Any]:
        described: dict[str, Any] = self.aws.client("events").describe_connection(Name=self.name)
        return described

    def wait_until(self, state: str) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT_S
        while (found := self.connection)["ConnectionState"] != state:
            assert time.monotonic() < deadline, found
            time.sleep(POLL_S)
        return found

    def call(self, path: str = "/api/events", **arguments: Any) -> dict[str, Any]:
        """Run one task, and return the finished execution."""
        name = unique("caller")
        task = {
            "Type": "Task",
            "Resource": "arn:aws:states:::http:invoke",
            "Arguments": {
                "ApiEndpoint": self.party.url + path,
                "Method": "POST",
                "InvocationConfig": {"ConnectionArn": self.connection["ConnectionArn"]},
                "RequestBody": {"a": 1},
                **arguments,
            },
            "End": True,
        }
        iam, states = self.aws.client("iam"), self.aws.client("stepfunctions")
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "states.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document([trust]))["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="call", PolicyDocument=_document(self.statements))
        definition = {"QueryLanguage": "JSONata", "StartAt": "Call", "States": {"Call": task}}
        machine = states.create_state_machine(name=name, roleArn=role, definition=json.dumps(definition))
        started = states.start_execution(stateMachineArn=machine["stateMachineArn"])
        return wait_for_execution(self.aws, started["executionArn"])


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _new_caller(aws: EmbeddedAws, party: ThreadedThirdParty, kind: str, parameters: dict[str, Any]) -> Caller:
    name = unique("api")
    aws.client("events").create_connection(Name=name, AuthorizationType=kind, AuthParameters=parameters)
    caller = Caller(aws, party, name, [])
    made = caller.wait_until("AUTHORIZED")
    conditions = {
        "StringEquals": {"states:HTTPMethod": "POST"},
        "StringLike": {"states:HTTPEndpoint": f"{party.url}/api/*"},
    }
    caller.statements = [
        {"Effect": "Allow", "Action": "states:InvokeHTTPEndpoint", "Resource": "*", "Condition": conditions},
        {
            "Effect": "Allow",
            "Action": "events:RetrieveConnectionCredentials",
            "Resource": made["ConnectionArn"],
        },
        *({"Effect": "Allow", "Action": action, "Resource": made["SecretArn"]} for action in SECRET_ACTIONS),
    ]
    return caller


def _api_key(value: str) -> dict[str, Any]:
    return {"ApiKeyAuthParameters": {"ApiKeyName": "X-Api-Key", "ApiKeyValue": value}}


@pytest.fixture
def caller(aws: EmbeddedAws, party: ThreadedThirdParty) -> Caller:
    return _new_caller(aws, party, "API_KEY", _api_key(party.accounts.api_key))


def test_result_has_status_headers_body(caller: Caller) -> None:
    caller.party.honours_range = True

    execution = caller.call(Headers={"Idempotency-Key": "01JD"}, QueryParameters={"q": "1 2"})

    result = json.loads(execution["output"])
    assert (result["StatusCode"], result["StatusText"]) == (206, "Partial Content")
    assert result["ResponseBody"] == {"accepted": True}
    (received,) = caller.party.received
    assert received.query == {"q": "1 2"}
    assert received.headers["Idempotency-Key"] == "01JD"
    assert received.headers["User-Agent"] == "Amazon|StepFunctions|HttpInvoke|us-east-1"


@pytest.mark.parametrize("status", [302, 400, 429, 500])
def test_error_has_status_and_body(caller: Caller, status: int) -> None:
    caller.party.answer_next(status, "why")

    execution = caller.call()

    assert (execution["error"], execution["cause"]) == (f"States.Http.StatusCode.{status}", "why")


def test_api_that_is_down_is_socket_error(caller: Caller) -> None:
    caller.party.stop()
    try:
        assert caller.call()["error"] == "States.Http.Socket"
    finally:
        caller.party.restart()


def test_forbidden_header_fails_uncaught(caller: Caller) -> None:
    assert caller.call(Headers={"Authorization": "Bearer x"})["error"] == "States.Runtime"


@pytest.mark.parametrize(
    ("missing", "error"),
    [
        (0, "States.Permissions"),
        (1, "Events.ConnectionResource.AccessDenied"),
        (2, "Events.ConnectionResource.AccessDenied"),
        (3, "Events.ConnectionResource.AccessDenied"),
    ],
)
def test_each_permission_is_needed(caller: Caller, missing: int, error: str) -> None:
    del caller.statements[missing]

    assert caller.call()["error"] == error
    assert caller.party.received == []


@pytest.mark.parametrize(("path", "arguments"), [("/hooks/events", {}), ("/api/events", {"Method": "PUT"})])
def test_role_is_held_to_endpoint_and_method(caller: Caller, path: str, arguments: dict[str, str]) -> None:
    assert caller.call(path, **arguments)["error"] == "States.Permissions"


def test_rejected_key_deauthorizes(caller: Caller) -> None:
    """A new key is authorised after a while; until then, the connection takes no other change."""
    caller.aws.client("events").update_connection(
        Name=caller.name, AuthorizationType="API_KEY", AuthParameters=_api_key("wrong")
    )
    caller.wait_until("AUTHORIZED")

    assert caller.call()["error"] == "States.Http.StatusCode.401"
    assert caller.connection["ConnectionState"] == "DEAUTHORIZED"
    assert caller.call()["error"] == "Events.ConnectionResource.InvalidConnectionState"

    right = _api_key(caller.party.accounts.api_key)
    update = caller.aws.client("events").update_connection
    changing = update(Name=caller.name, AuthorizationType="API_KEY", AuthParameters=right)
    assert changing["ConnectionState"] == "UPDATING"
    with pytest.raises(botocore.exceptions.ClientError, match="ConcurrentModification"):
        update(Name=caller.name, AuthorizationType="API_KEY", AuthParameters=right)
    caller.wait_until("AUTHORIZED")
    assert caller.call()["status"] == "SUCCEEDED"


def test_oauth_fetches_token_anew(aws: EmbeddedAws, party: ThreadedThirdParty) -> None:
    """A rejected token is replaced by the connection itself."""
    caller = _new_caller(aws, party, "OAUTH_CLIENT_CREDENTIALS", _oauth(party))
    assert caller.call()["status"] == "SUCCEEDED"
    party.accounts.expire_tokens()

    assert caller.call()["error"] == "States.Http.StatusCode.401"
    caller.wait_until("AUTHORIZED")
    assert caller.call()["status"] == "SUCCEEDED"
    assert party.accounts.grants == 2


def _oauth(party: ThreadedThirdParty, **wrong: str) -> dict[str, Any]:
    client = {"ClientID": party.accounts.client_id, "ClientSecret": party.accounts.client_secret} | wrong
    return {
        "OAuthParameters": {
            "ClientParameters": client,
            "AuthorizationEndpoint": f"{party.url}/oauth/token",
            "HttpMethod": "POST",
        }
    }


def test_wrong_oauth_client_is_deauthorized(aws: EmbeddedAws, party: ThreadedThirdParty) -> None:
    name = unique("api")
    aws.client("events").create_connection(
        Name=name,
        AuthorizationType="OAUTH_CLIENT_CREDENTIALS",
        AuthParameters=_oauth(party, ClientSecret="wrong"),
    )

    found = Caller(aws, party, name, []).wait_until("DEAUTHORIZED")

    assert "401" in found["StateReason"]


def test_describe_hides_secrets(aws: EmbeddedAws, party: ThreadedThirdParty) -> None:
    body = [{"Key": "password", "Value": "planted", "IsValueSecret": True}, {"Key": "user", "Value": "nelly"}]
    parameters = _api_key("planted") | {"InvocationHttpParameters": {"BodyParameters": body}}

    caller = _new_caller(aws, party, "API_KEY", parameters)

    shown = caller.connection["AuthParameters"]
    assert "planted" not in json.dumps(shown)
    assert shown["InvocationHttpParameters"]["BodyParameters"][1]["Value"] == "nelly"
    assert shown["ApiKeyAuthParameters"] == {"ApiKeyName": "X-Api-Key"}

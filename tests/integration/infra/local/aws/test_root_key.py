"""Root's access key id is no secret: only a signature with its secret key lets a request in."""

import datetime as dt

import botocore.exceptions
import pytest

from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from infra.local.aws.hooks.asgi_client import sign
from tests.integration.infra.relay import Answer, Relay, send

_TARGET = {"X-Amz-Target": "secretsmanager.ListSecrets", "Content-Type": "application/x-amz-json-1.1"}


def _list_secrets(aws: EmbeddedAws, headers: dict[str, str], query: str = "") -> Answer:
    return send(f"{aws.endpoint_url}/{query}", {**_TARGET, **headers}, b"{}")


def _scope(service: str) -> str:
    return f"{dt.datetime.now(dt.UTC):%Y%m%d}/us-east-1/{service}/aws4_request"


@pytest.mark.parametrize("service", ["secretsmanager", "stepfunctions", "cloudformation", "sts"])
def test_refuses_wrong_root_secret(aws: EmbeddedAws, service: str) -> None:
    operation = {
        "secretsmanager": "list_secrets",
        "stepfunctions": "list_state_machines",
        "cloudformation": "list_stacks",
        "sts": "get_caller_identity",
    }[service]
    client = aws.client(service, Credentials(aws.admin.access_key_id, "wrong"))

    with pytest.raises(botocore.exceptions.ClientError) as refused:
        getattr(client, operation)()

    assert refused.value.response["Error"]["Code"] in ("SignatureDoesNotMatch", "InvalidSignatureException")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)


def test_ingress_refuses_wrong_root_secret(relay: Relay) -> None:
    url = relay.ingress_url
    wrong = Credentials(relay.aws.admin.access_key_id, "wrong")
    headers = sign("POST", url, {}, b"{}", service="execute-api", region=relay.aws.region, who=wrong)

    assert send(url, headers, b"{}").status == 403


@pytest.mark.parametrize(
    "authorization",
    [
        "AWS4-HMAC-SHA256 Credential={key}/{scope}",
        "AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders=host, Signature=0",
        "AWS {key}:signature",
    ],
)
def test_refuses_root_key_without_signature(aws: EmbeddedAws, authorization: str) -> None:
    header = authorization.format(key=aws.admin.access_key_id, scope=_scope("secretsmanager"))

    assert _list_secrets(aws, {"Authorization": header}).status in (400, 403)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer anything"}])
@pytest.mark.parametrize("service", ["s3", "secretsmanager"])
def test_refuses_root_key_in_query(aws: EmbeddedAws, service: str, headers: dict[str, str]) -> None:
    """A query that names root's key must be signed too, whichever service it claims to be for."""
    credential = f"{aws.admin.access_key_id}/{_scope(service)}".replace("/", "%2F")
    query = f"?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Signature=0"

    assert _list_secrets(aws, headers, query).status in (400, 403)


def test_serves_signed_root(aws: EmbeddedAws) -> None:
    assert aws.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{aws.account_id}:root"
    aws.client("secretsmanager").list_secrets()

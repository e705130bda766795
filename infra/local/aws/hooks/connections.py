"""EventBridge connections as on AWS: authorised a while after each change, their credentials in a secret.

ministack authorises at once, keeps the credentials in the connection, and shows them in DescribeConnection.
Here they are only in the secret that EventBridge makes in Secrets Manager, and what uses them reads that
secret with its own permissions. ministack's API destinations find no credentials any more.
"""

# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-target-connection-auth.html

import contextvars
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from infra.local.aws.hooks.role_permissions import role_of_caller_lacks
from infra.local.aws.hooks.seam import Seam, module

EVENTS = "ministack.services.eventbridge"
_SECRETS = "ministack.services.secretsmanager"
_RESOURCE_ARN = Seam(
    "ministack.core.iam_actions",
    "extract_resource_arn",
    ("service", "method", "path", "headers", "body", "query_params", "region", "account_id"),
)
_CREATE, _UPDATE, _DELETE, _DEAUTHORIZE = (
    Seam(EVENTS, f"_{operation}_connection", ("data",))
    for operation in ("create", "update", "delete", "deauthorize")
)
SEAMS = (
    _RESOURCE_ARN,
    *(_CREATE, _UPDATE, _DELETE, _DEAUTHORIZE),
    Seam(EVENTS, "_fetch_oauth_token", ("oauth",)),
    Seam(_SECRETS, "create_secret_in_process", ("name", "secret_string", "description")),
    Seam(_SECRETS, "put_secret_value_in_process", ("secret_id", "secret_string")),
    Seam(_SECRETS, "delete_secret_in_process", ("secret_id",)),
    Seam(_SECRETS, "resolve_secret_string", ("secret_id", "version_stage", "version_id")),
)

OAUTH = "OAUTH_CLIENT_CREDENTIALS"
# How long a connection is UPDATING, and then AUTHORIZING. On AWS it takes seconds.
_STEP_S = 0.25
_CHANGING = frozenset({"CREATING", "UPDATING", "AUTHORIZING"})
# What changes a connection changes its secret with these permissions of its own.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-identity-based.html
_CHANGES_SECRET = (
    "secretsmanager:GetSecretValue",
    "secretsmanager:PutSecretValue",
    "secretsmanager:UpdateSecret",
)
_HIDDEN = frozenset({"ApiKeyValue", "Password", "ClientSecret"})
_OPERATIONS = frozenset(
    f"AWSEvents.{name}Connection" for name in ("Create", "Update", "Describe", "Delete", "Deauthorize")
)


def find_connection(arn: str) -> dict[str, Any] | None:
    """Return the connection with that ARN."""
    found = module(EVENTS)._connections.get(arn.rpartition(":connection/")[2].partition("/")[0])
    return found if found and found["ConnectionArn"] == arn else None


def reject_credentials(connection: dict[str, Any], status: int) -> None:
    """Do what EventBridge does when an API answers 401 or 407.

    OAuth fetches another token. Other credentials are of no use any more until they are updated.
    """
    if connection["AuthorizationType"] == OAUTH:
        _go_through(connection, "AUTHORIZING")
    else:
        connection["ConnectionState"] = "DEAUTHORIZED"
        connection["StateReason"] = f"the API rejected the credentials with status {status}"


def hide_secrets(value: Any) -> Any:
    """Return authorisation parameters as DescribeConnection shows them."""
    if isinstance(value, list):
        return [hide_secrets(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    hidden = _HIDDEN | ({"Value"} if value.get("IsValueSecret") in (True, "true") else set())
    return {name: hide_secrets(member) for name, member in value.items() if name not in hidden}


def install() -> None:
    events, secrets = module(EVENTS), module(_SECRETS)
    create, delete, deauthorize = (seam.original() for seam in (_CREATE, _DELETE, _DEAUTHORIZE))
    responses = module("ministack.core.responses")

    def store(connection: dict[str, Any], data: Mapping[str, Any]) -> None:
        parameters = data.get("AuthParameters") or {}
        connection["AuthParameters"] = hide_secrets(parameters)
        text = json.dumps(
            {"AuthorizationType": connection["AuthorizationType"], "AuthParameters": parameters}
        )
        if not secrets.put_secret_value_in_process(connection["SecretArn"], text):
            raise LookupError(f"the secret of the connection {connection['Name']} is gone")

    def create_connection(data: dict[str, Any]) -> Any:
        response = create(data)
        if response[0] >= 400:
            return response
        connection, number = events._connections[data["Name"]], uuid.uuid4()
        connection["ConnectionArn"] += f"/{number}"
        connection["SecretArn"] = secrets.create_secret_in_process(
            f"events!connection/{data['Name']}/{number}", "{}"
        )
        store(connection, data)
        del connection["LastAuthorizedTime"]
        _go_through(connection, "AUTHORIZING")
        return responses.json_response(_brief(connection))

    def update_connection(data: dict[str, Any]) -> Any:
        connection = events._connections.get(data.get("Name"))
        if connection is None:
            message = f"Connection '{data.get('Name')}' does not exist."
            return responses.error_response_json("ResourceNotFoundException", message, 400)
        if connection["ConnectionState"] in _CHANGING:
            message = f"Connection {data['Name']} is being modified."
            return responses.error_response_json("ConcurrentModificationException", message, 400)
        if "AuthParameters" in data and (
            lacked := role_of_caller_lacks(_CHANGES_SECRET, connection["SecretArn"])
        ):
            message = f"not authorized to perform: {lacked} on resource: {connection['SecretArn']}"
            return responses.error_response_json("AccessDeniedException", message, 400)
        connection.update({key: data[key] for key in ("AuthorizationType", "Description") if key in data})
        connection["LastModifiedTime"] = time.time()
        if "AuthParameters" in data:
            store(connection, data)
            _go_through(connection, "UPDATING", "AUTHORIZING")
        return responses.json_response(_brief(connection))

    def delete_connection(data: dict[str, Any]) -> Any:
        connection = events._connections.get(data.get("Name"))
        if connection is not None:
            secrets.delete_secret_in_process(connection["SecretArn"])
        return delete(data)

    def deauthorize_connection(data: dict[str, Any]) -> Any:
        connection = events._connections.get(data.get("Name"))
        response = deauthorize(data)
        if connection is not None:
            store(connection, {})
        return response

    for seam, function in (
        (_CREATE, create_connection),
        (_UPDATE, update_connection),
        (_DELETE, delete_connection),
        (_DEAUTHORIZE, deauthorize_connection),
    ):
        seam.replace(function)
    _name_resources()


def _name_resources() -> None:
    """Have policies evaluated for the connection's ARN; ministack takes its name for a rule's."""
    extract: Callable[..., str] = _RESOURCE_ARN.original()

    def extract_arn(service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> str:
        if service == "events" and headers.get("x-amz-target") in _OPERATIONS:
            name = json.loads(body).get("Name", "")
            connection = module(EVENTS)._connections.get(name)
            if connection is not None:
                return str(connection["ConnectionArn"])
        return extract(service, method, path, headers, body, *rest)

    _RESOURCE_ARN.replace(extract_arn)


def _brief(connection: Mapping[str, Any]) -> dict[str, Any]:
    shown = ("ConnectionArn", "ConnectionState", "CreationTime", "LastModifiedTime", "LastAuthorizedTime")
    return {name: connection[name] for name in shown if name in connection}


def _go_through(connection: dict[str, Any], *states: str) -> None:
    """Put the connection into each of the *states* in turn, and then authorise it."""
    change = connection["Change"] = uuid.uuid4().hex
    connection["ConnectionState"] = states[0]
    connection.pop("StateReason", None)
    # The account and region are context variables.
    context = contextvars.copy_context()

    def step() -> None:
        if connection.get("Change") != change:
            return
        if states[1:]:
            context.run(_go_through, connection, *states[1:])
        else:
            context.run(_authorise, connection)

    timer = threading.Timer(_STEP_S, step)
    timer.daemon = True
    timer.start()


def _authorise(connection: dict[str, Any]) -> None:
    """Authorise the connection, with a new token if it uses OAuth."""
    secrets = module(_SECRETS)
    if connection["AuthorizationType"] == OAUTH:
        held = json.loads(secrets.resolve_secret_string(connection["SecretArn"]) or "{}")
        try:
            token = module(EVENTS)._fetch_oauth_token(held["AuthParameters"]["OAuthParameters"])
        except (OSError, ValueError, KeyError) as error:
            connection["ConnectionState"] = "DEAUTHORIZED"
            connection["StateReason"] = f"could not get a token: {error}"
            return
        held["Token"] = f"{token['type']} {token['token']}"
        secrets.put_secret_value_in_process(connection["SecretArn"], json.dumps(held))
    connection["ConnectionState"] = "AUTHORIZED"
    connection["LastAuthorizedTime"] = time.time()

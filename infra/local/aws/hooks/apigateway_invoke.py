"""The task ``arn:aws:states:::apigateway:invoke``: calls an HTTP API as the state machine's role."""

# https://docs.aws.amazon.com/step-functions/latest/dg/connect-api-gateway.html; result and error shapes as
# recorded against AWS (facts: Step Functions, apigateway:invoke)

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from infra.local.aws.hooks.asgi_client import AsgiClient, Response, sign
from infra.local.aws.hooks.machine_role import MachineRole
from infra.local.aws.hooks.seam import Seam, module

_STATES = "ministack.services.stepfunctions"
SEAMS = (Seam(_STATES, "_invoke_resource", ("resource", "input_data")),)

RESOURCE = "arn:aws:states:::apigateway:invoke"
_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})
_FIELDS = frozenset({
    "ApiEndpoint", "Method", "Stage", "Path", "Headers", "QueryParameters", "RequestBody", "AllowNullValues",
    "AuthType",
})  # fmt: skip
_HOST = re.compile(r"([a-z0-9]+)\.execute-api\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_FORBIDDEN_HEADER = re.compile(
    r"authorization|connection|content-md5|expect|host|max-forwards|proxy-authenticate|server|te|trailer"
    r"|transfer-encoding|upgrade|via|www-authenticate|x-forwarded.*|x-amz.*",
    re.IGNORECASE,
)


class InvalidTask(Exception):
    """The arguments are invalid: the task fails with States.Runtime, which no Catch matches."""


def _lists(arguments: Mapping[str, Any], field: str) -> dict[str, list[str]]:
    """Return a field that maps names to values; AWS accepts only arrays of strings."""
    given = arguments.get(field) or {}
    if not isinstance(given, dict) or any(
        not isinstance(values, list) or any(not isinstance(value, str) for value in values)
        for values in given.values()
    ):
        raise InvalidTask(f"The value of the field '{field}' has an invalid format")
    return given


def _without_nulls(value: Any) -> Any:
    """Drop null members, which AWS sends only if AllowNullValues is set."""
    if isinstance(value, dict):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def build_request(arguments: Any) -> tuple[str, str, dict[str, str], bytes, str]:
    """Return method, URL, headers, body and authorisation type from the task's *arguments*."""
    if not isinstance(arguments, dict) or not {"ApiEndpoint", "Method"} <= arguments.keys():
        raise InvalidTask("The fields 'ApiEndpoint' and 'Method' are required")
    if unknown := arguments.keys() - _FIELDS:
        raise InvalidTask(f"The field '{min(unknown)}' is not supported")
    if arguments["Method"] not in _METHODS:
        raise InvalidTask("The value of the field 'Method' is not supported")
    headers = {name: ", ".join(values) for name, values in _lists(arguments, "Headers").items()}
    if forbidden := [name for name in headers if _FORBIDDEN_HEADER.fullmatch(name)]:
        raise InvalidTask(f"The header '{forbidden[0]}' is not allowed")
    body = b""
    if "RequestBody" in arguments:
        given = arguments["RequestBody"]
        if not arguments.get("AllowNullValues", False):
            given = _without_nulls(given)
        body = (given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)).encode()
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
    path = "/".join(
        part.strip("/") for part in (arguments.get("Stage", ""), arguments.get("Path", "")) if part
    )
    query = urlencode(_lists(arguments, "QueryParameters"), doseq=True, quote_via=quote)
    url = f"https://{arguments['ApiEndpoint']}/{quote(path)}" + (f"?{query}" if query else "")
    return arguments["Method"], url, headers, body, arguments.get("AuthType", "NO_AUTH")


def build_result(response: Response) -> dict[str, Any]:
    """Return the task's result, with a JSON body parsed and any other as a string."""
    headers: dict[str, list[str]] = {}
    for name, value in response.headers:
        headers.setdefault(name.title(), []).append(value)
    text = response.body.decode(errors="replace")
    try:
        body: Any = json.loads(text)
    except ValueError:
        body = text
    reason = HTTPStatus(response.status).phrase if response.status in set(HTTPStatus) else ""
    return {"Headers": headers, "ResponseBody": body, "StatusCode": response.status, "StatusText": reason}


class ApiGatewayInvoke:
    """Performs the task through *client*."""

    def __init__(self, client: AsgiClient) -> None:
        self._client = client
        self._role = MachineRole()
        self._error = module(_STATES)._ExecutionError

    def __call__(self, _resource: str, arguments: Any) -> dict[str, Any]:
        try:
            method, url, headers, body, auth_type = build_request(arguments)
        except InvalidTask as error:
            raise self._error("States.Runtime", str(error)) from None
        host = _HOST.fullmatch(arguments["ApiEndpoint"])
        if host is None:
            raise self._error("ApiGateway.UnknownHostException", arguments["ApiEndpoint"])
        api_id, region = host.groups()
        # ministack routes by host only for its own domain, but by path for any host.
        url = url.replace(f"https://{host[0]}/", f"https://{host[0]}/_aws/execute-api/{api_id}/", 1)
        if auth_type == "IAM_ROLE":
            who = self._role.assume(region)
            headers = sign(method, url, headers, body, service="execute-api", region=region, who=who)
        else:
            headers = {"Host": host[0], **headers}
        response = self._client.request_from_thread(method, url, headers, body)
        if not 200 <= response.status < 300:
            raise self._error(f"ApiGateway.{response.status}", response.body.decode(errors="replace"))
        return build_result(response)


def install(client: AsgiClient) -> None:
    module(_STATES)._SERVICE_DISPATCH[RESOURCE] = ApiGatewayInvoke(client)

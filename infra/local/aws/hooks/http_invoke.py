"""The task ``arn:aws:states:::http:invoke``: calls an HTTPS API with the credentials of a connection.

The state machine's role must be allowed the endpoint and the method, the connection's credentials and its
secret, which is read with that role.
"""

# https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html
# How a failed call's Cause looks on AWS is not documented; here it is the answer's body.

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import yarl

from infra.local.aws.credentials import Credentials
from infra.local.aws.hooks.apigateway_invoke import build_result
from infra.local.aws.hooks.asgi_client import AsgiClient, Response, sign
from infra.local.aws.hooks.connections import find_connection, reject_credentials
from infra.local.aws.hooks.http_request import HttpRequest, InvalidTask, Task, build_request, parse_task
from infra.local.aws.hooks.machine_role import MachineRole, machine_arn
from infra.local.aws.hooks.role_permissions import is_allowed
from infra.local.aws.hooks.seam import Seam, module

_STATES = "ministack.services.stepfunctions"
SEAMS = (Seam(_STATES, "_invoke_resource", ("resource", "input_data")),)

RESOURCE = "arn:aws:states:::http:invoke"
_TIMEOUT_S = 60.0
_UNAUTHORIZED = (401, 407)
_NOT_USABLE = {
    "AUTHORIZING": "AuthInProgress",
    "CREATING": "AuthInProgress",
    "UPDATING": "ConcurrentModification",
}


class HttpInvoke:
    """Performs the task; reads secrets through *client*, calls APIs through *session*."""

    def __init__(self, client: AsgiClient, session: aiohttp.ClientSession) -> None:
        self._client = client
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._role = MachineRole()
        self._error = module(_STATES)._ExecutionError

    def __call__(self, _resource: str, arguments: Any) -> dict[str, Any]:
        try:
            task = parse_task(arguments)
        except InvalidTask as error:
            raise self._error("States.Runtime", str(error)) from None
        region = task.connection_arn.split(":")[3]
        who = self._role.assume(region)
        self._check_endpoint(who, task)
        connection = self._usable(task.connection_arn)
        request = build_request(task, self._credentials(who, connection, region), region=region)
        response = self._send(request)
        if 200 <= response.status < 300:
            return build_result(response)
        if response.status in _UNAUTHORIZED:
            reject_credentials(connection, response.status)
        raise self._error(f"States.Http.StatusCode.{response.status}", response.body.decode(errors="replace"))

    def _check_endpoint(self, who: Credentials, task: Task) -> None:
        conditions = {"states:HTTPMethod": task.method, "states:HTTPEndpoint": task.url}
        if not is_allowed(who, "states:InvokeHTTPEndpoint", machine_arn(), conditions=conditions):
            raise self._error(
                "States.Permissions",
                f"not authorized to perform states:InvokeHTTPEndpoint on API Endpoint {task.url}",
            )

    def _usable(self, arn: str) -> dict[str, Any]:
        """Return the connection; raises the task's error unless it is authorised."""
        connection = find_connection(arn)
        if connection is None:
            raise self._error("Events.ConnectionResource.ResourceNotFound", f"no connection {arn}")
        state = connection["ConnectionState"]
        if state != "AUTHORIZED":
            name = _NOT_USABLE.get(state, "InvalidConnectionState")
            raise self._error(f"Events.ConnectionResource.{name}", f"connection {arn} is {state}")
        return connection

    def _credentials(self, who: Credentials, connection: dict[str, Any], region: str) -> dict[str, Any]:
        """Read the connection's secret with the role's own permissions."""
        arn, secret = connection["ConnectionArn"], connection["SecretArn"]
        if not is_allowed(who, "events:RetrieveConnectionCredentials", arn):
            raise self._denied("events:RetrieveConnectionCredentials", arn)
        self._ask_secrets(who, "DescribeSecret", secret, region)
        held: dict[str, Any] = json.loads(
            self._ask_secrets(who, "GetSecretValue", secret, region)["SecretString"]
        )
        return held

    def _ask_secrets(self, who: Credentials, action: str, arn: str, region: str) -> Any:
        url = f"https://secretsmanager.{region}.amazonaws.com/"
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"secretsmanager.{action}",
        }
        body = json.dumps({"SecretId": arn}).encode()
        signed = sign("POST", url, headers, body, service="secretsmanager", region=region, who=who)
        answer = self._client.request_from_thread("POST", url, signed, body)
        if answer.status >= 300:
            raise self._denied(f"secretsmanager:{action}", arn)
        return json.loads(answer.body)

    def _denied(self, action: str, arn: str) -> Exception:
        error: Exception = self._error(
            "Events.ConnectionResource.AccessDenied", f"not authorized to perform {action} on {arn}"
        )
        return error

    def _send(self, request: HttpRequest) -> Response:
        try:
            return asyncio.run_coroutine_threadsafe(self._exchange(request), self._loop).result()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._error("States.Http.Socket", str(error) or type(error).__name__) from None

    async def _exchange(self, request: HttpRequest) -> Response:
        async with self._session.request(
            request.method,
            yarl.URL(request.url, encoded=True),
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
        ) as response:
            headers = [(name.lower(), value) for name, value in response.headers.items()]
            return Response(response.status, headers, await response.read())


@asynccontextmanager
async def installed(client: AsgiClient) -> AsyncIterator[None]:
    """Install the hook and close its connections on exit."""
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
    ) as session:
        module(_STATES)._SERVICE_DISPATCH[RESOURCE] = HttpInvoke(client, session)
        yield

"""The integrations ``StepFunctions-StartExecution``, ``-StartSyncExecution`` and ``-StopExecution``.

API Gateway assumes the integration's role, calls Step Functions with it, and returns the service's status
and JSON to the client unchanged.
"""

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-aws-services-reference.html

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from infra.local.aws.hooks import parameter_mapping
from infra.local.aws.hooks.asgi_client import AsgiClient, sign
from infra.local.aws.hooks.seam import Seam
from infra.local.aws.hooks.service_roles import NotTrusted, ServiceRoles

_INVOKE = Seam(
    "ministack.services.apigateway",
    "_invoke_lambda_proxy",
    (
        "integration", "api_id", "stage", "path", "method", "headers", "body", "query_params", "route_key",
        "path_params", "authorizer_claims", "authorizer_scopes", "authorizer_lambda_context",
        "authorizer_iam", "owner_account_id", "owner_region", "raw_query_string",
    ),
)  # fmt: skip
SEAMS = (_INVOKE,)

_log = logging.getLogger(__name__)

# Integration parameter -> the service's own name for it.
_PARAMETERS = {
    "StepFunctions-StartExecution": {"StateMachineArn": "stateMachineArn", "Name": "name", "Input": "input"},
    "StepFunctions-StartSyncExecution": {
        "StateMachineArn": "stateMachineArn", "Name": "name", "Input": "input", "TraceHeader": "traceHeader",
    },
    "StepFunctions-StopExecution": {"ExecutionArn": "executionArn", "Cause": "cause", "Error": "error"},
}  # fmt: skip

_Response = tuple[int, dict[str, str], bytes]


# Context variable -> ministack's name for the signed request's caller attribute.
_IDENTITY = {
    "identity.accountId": "accountId",
    "identity.caller": "callerId",
    "identity.user": "userId",
    "identity.userArn": "userArn",
}


def _identity(caller: Mapping[str, Any]) -> dict[str, str]:
    return {name: caller[key] for name, key in _IDENTITY.items() if caller.get(key)}


def _message(status: int, text: str) -> _Response:
    return status, {"Content-Type": "application/json"}, json.dumps({"message": text}).encode()


class ServiceIntegrations:
    """Invokes service integrations through *client*."""

    def __init__(self, client: AsgiClient) -> None:
        self._client = client
        self._roles = ServiceRoles("apigateway.amazonaws.com", "apigateway")

    async def invoke(
        self,
        integration: Mapping[str, Any],
        request: parameter_mapping.Request,
        *,
        source_arn: str,
        region: str,
    ) -> _Response:
        subtype = integration["integrationSubtype"]
        names = _PARAMETERS.get(subtype)
        if names is None:
            return _message(500, f"the embedded AWS has no {subtype}")
        given: Mapping[str, str] = integration.get("requestParameters") or {}
        try:
            values = {
                name: parameter_mapping.select(given[key], request)
                for key, name in names.items()
                if key in given
            }
        except parameter_mapping.SelectionFailed:
            return _message(400, "Bad Request")
        region = given.get("Region", region)
        try:
            who = self._roles.assume(integration["credentialsArn"], source_arn=source_arn, region=region)
        except NotTrusted as error:
            _log.error("API Gateway cannot assume %s", error)
            return _message(500, "Internal Server Error")
        url = f"https://states.{region}.amazonaws.com/"
        body = json.dumps(values).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AWSStepFunctions.{subtype.removeprefix('StepFunctions-')}",
        }
        signed = sign("POST", url, headers, body, service="states", region=region, who=who)
        answer = await self._client.request("POST", url, signed, body)
        return answer.status, {"Content-Type": "application/json"}, answer.body


def install(client: AsgiClient) -> None:
    invoke_lambda = _INVOKE.original()
    integrations = ServiceIntegrations(client)

    async def invoke(
        integration: Mapping[str, Any],
        api_id: str,
        stage: str,
        path: str,
        method: str,
        headers: Mapping[str, str],
        body: bytes,
        query_params: Mapping[str, Sequence[str]] | None,
        route_key: str = "$default",
        path_params: Mapping[str, str] | None = None,
        *,
        authorizer_iam: Mapping[str, Any] | None = None,
        owner_account_id: str,
        owner_region: str,
        **rest: Any,
    ) -> Any:
        if "integrationSubtype" not in integration:
            return await invoke_lambda(
                integration, api_id, stage, path, method, headers, body, query_params, route_key, path_params,
                authorizer_iam=authorizer_iam, owner_account_id=owner_account_id, owner_region=owner_region,
                **rest,
            )  # fmt: skip
        request = parameter_mapping.Request(
            headers=headers,
            query=query_params or {},
            path=path_params or {},
            body=body,
            context={
                "apiId": api_id,
                "stage": stage,
                "path": path,
                "httpMethod": method,
                "routeKey": route_key,
                **_identity(authorizer_iam or {}),
            },
        )
        source_arn = f"arn:aws:execute-api:{owner_region}:{owner_account_id}:{api_id}/{stage}/{route_key}"
        return await integrations.invoke(integration, request, source_arn=source_arn, region=owner_region)

    _INVOKE.replace(invoke)

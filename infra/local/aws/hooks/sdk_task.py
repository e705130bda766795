"""The tasks ``arn:aws:states:::aws-sdk:SERVICE:…``: call the service as the state machine's role.

ministack performs them as root, and uses the wire names of errors instead of the SDK's class names.
"""

# https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html

import json
from dataclasses import dataclass
from typing import Any

import botocore.session

from infra.local.aws.hooks.asgi_client import AsgiClient, sign
from infra.local.aws.hooks.machine_role import MachineRole
from infra.local.aws.hooks.seam import Seam, module

_STATES = "ministack.services.stepfunctions"
SEAMS = (
    Seam(_STATES, "_invoke_resource", ("resource", "input_data")),
    Seam(_STATES, "_sdk_json_params", ("service_info", "service_key", "action", "input_data")),
    Seam(_STATES, "_sdk_json_result", ("service_key", "action", "result")),
    Seam("ministack.core.responses", "get_region", ()),
)

_RESOURCE = "arn:aws:states:::aws-sdk:{service}:"


@dataclass(frozen=True)
class Service:
    """A service: its names in a task's resource, in botocore, in requests and in errors."""

    resource: str
    model: str
    name: str
    target: str
    errors: str


SERVICES = (
    Service("sfn", "stepfunctions", "states", "AWSStepFunctions", "Sfn"),
    Service("dynamodb", "dynamodb", "dynamodb", "DynamoDB_20120810", "DynamoDb"),
    Service("eventbridge", "events", "events", "AWSEvents", "EventBridge"),
)


class SdkTask:
    """Performs tasks of one *service* through *client*."""

    def __init__(self, service: Service, client: AsgiClient) -> None:
        self._service = service
        self._prefix = _RESOURCE.format(service=service.resource)
        self._client = client
        self._role = MachineRole()
        self._states = module(_STATES)
        self._region = module("ministack.core.responses").get_region
        model = botocore.session.get_session().get_service_model(service.model)
        self._modelled = {shape.name for shape in model.error_shapes}

    def __call__(self, resource: str, arguments: Any) -> Any:
        name, service = resource.removeprefix(self._prefix).partition(".")[0], self._service.name
        action = name[0].upper() + name[1:]
        region = self._region()
        body = json.dumps(self._states._sdk_json_params({}, service, action, arguments)).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"{self._service.target}.{action}",
        }
        url = f"https://{service}.{region}.amazonaws.com/"
        who = self._role.assume(region)
        signed = sign("POST", url, headers, body, service=service, region=region, who=who)
        response = self._client.request_from_thread("POST", url, signed, body)
        answer: dict[str, Any] = json.loads(response.body)
        if response.status >= 300:
            code = str(answer.get("__type", "")).rpartition("#")[2]
            raise self._states._ExecutionError(
                self._class_name(code), answer.get("message") or answer.get("Message") or code
            )
        return self._states._sdk_json_result(service, action, answer)

    def _class_name(self, code: str) -> str:
        """Return the Java SDK's class name; errors outside the model get the service's base class."""
        if code not in self._modelled:
            return f"{self._service.errors}.{self._service.errors}Exception"
        return f"{self._service.errors}.{code.removesuffix('Exception')}Exception"


def install(client: AsgiClient) -> None:
    for service in SERVICES:
        task = SdkTask(service, client)
        module(_STATES)._SERVICE_DISPATCH[_RESOURCE.format(service=service.resource)] = task

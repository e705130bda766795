"""A relay in the embedded AWS with its own webhook, and the requests that tests send to it."""

import http.client
import http.server
import json
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import botocore.exceptions
import pydantic

from bot.voice.samples import build_sample
from infra.deploy.engine import TEMPLATE, DeployOptions, deploy
from infra.deploy.template import build_template
from infra.local.aws import EmbeddedAws
from infra.local.aws.credentials import Credentials
from infra.local.aws.hooks.asgi_client import sign
from infra.local.machine import create_bot_user

TIMEOUT_S = 20.0
POLL_S = 0.02
WAITING = {"Delay": POLL_S, "MaxAttempts": int(TIMEOUT_S / POLL_S)}

# A key that exists in no account.
NOBODY = Credentials("AKIA0000000000000000", "secret")


@dataclass
class Posted:
    """One request that reached the webhook; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Webhook:
    """A bare HTTP server in Discord's place, which keeps posts and sends scripted responses."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.status = 200
        self.headers: dict[str, str] = {"Content-Type": "application/json"}
        self.body = b'{"id": "1"}'
        # Responses wait for this.
        self.answering = threading.Event()
        self.answering.set()
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                names = {name.lower(): value for name, value in self.headers.items()}
                webhook.posted.append(Posted(self.command, self.path, names, body))
                webhook.answering.wait(TIMEOUT_S)
                self.send_response(webhook.status)
                for name, value in {**webhook.headers, "Content-Length": str(len(webhook.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(webhook.body)

            do_PUT = do_POST  # noqa: N815

            def log_message(self, *args: object) -> None:
                """Log nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/api/webhooks/1234/t0ken-of_webhook"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.answering.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass(frozen=True)
class Answer:
    """A response; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def send(
    url: str, headers: Mapping[str, str], body: bytes, *, method: str = "POST", source_ip: str = "127.0.0.1"
) -> Answer:
    """Send the request byte for byte from *source_ip*, an address of this machine."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S, source_address=(source_ip, 0))
    try:
        connection.request(
            method, parts.path + ("?" + parts.query if parts.query else ""), body, dict(headers)
        )
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True)
class Relay:
    """A deployed stack, with a user for the bot and one for the operator."""

    aws: EmbeddedAws
    webhook: Webhook
    stack_name: str
    outputs: Mapping[str, str]
    bot: Credentials = field(repr=False)
    operator: Credentials = field(default=NOBODY, repr=False)

    @property
    def ingress_url(self) -> str:
        return self.url("/workflows/notify")

    @property
    def proxy_url(self) -> str:
        return f"{self.aws.api_url(self.outputs['ProxyApiId'])}/destinations/default"

    def url(self, path: str) -> str:
        """Return the URL of a route of the ingress."""
        return self.aws.api_url(self.outputs["IngressApiId"]) + path

    def execution_arn(self, name: str, workflow: str = "notify") -> str:
        machine = self.outputs[f"{workflow.title()}StateMachineArn"]
        return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"

    def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        who: Credentials | None = None,
        source_ip: str = "127.0.0.1",
    ) -> Answer:
        """Post a request signed by *who*, by default the bot."""
        given = {"Content-Type": "application/json", **(headers or {})}
        signed = sign(
            "POST", url, given, body, service="execute-api", region=self.aws.region, who=who or self.bot
        )
        return send(url, signed, body, source_ip=source_ip)

    def start(
        self,
        name: str,
        body: bytes | None = None,
        *,
        workflow: str = "notify",
        who: Credentials | None = None,
    ) -> Answer:
        """Start an execution, as the bot does."""
        url = self.url(f"/workflows/{workflow}")
        return self.post(url, body or batch(name), {"Execution-Name": name}, who=who)

    def status(self, arn: str, *, brief: bool = False, who: Credentials | None = None) -> Answer:
        """Get the status of an execution, by default as the bot."""
        body = json.dumps({"executionArn": arn, "brief": True}).encode() if brief else _arn_body(arn)
        return self.post(self.url("/executions/status"), body, who=who)

    def stop(self, arn: str, *, who: Credentials | None = None) -> Answer:
        """Stop an execution, by default as the operator."""
        return self.post(self.url("/executions/stop"), _arn_body(arn), who=who or self.operator)

    def finished(self, name: str, workflow: str = "notify") -> dict[str, Any]:
        """Wait for the execution to end, and return it."""
        return wait_for_execution(self.aws, self.execution_arn(name, workflow))


def _arn_body(arn: str) -> bytes:
    return json.dumps({"executionArn": arn}).encode()


def wait_for_execution(aws: EmbeddedAws, arn: str) -> dict[str, Any]:
    states = aws.client("stepfunctions")
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        execution: dict[str, Any] = states.describe_execution(executionArn=arn)
        if execution["status"] != "RUNNING":
            return execution
        time.sleep(POLL_S)
    raise TimeoutError(f"{arn} is still running")


def batch(name: str, destination: str = "default") -> bytes:
    """Build a request body with one event."""
    return json.dumps({"id": name, "destination": destination, "events": [build_sample("joined")]}).encode()


def new_relay(
    aws: EmbeddedAws,
    webhook: Webhook,
    template: Path = TEMPLATE,
    *,
    parameters: Mapping[str, str] | None = None,
) -> Relay:
    """Deploy *template* under a unique name, with users for the bot and the operator."""
    stack_name = unique("relay")
    outputs = deploy(
        aws.client,
        webhook_url=pydantic.SecretStr(webhook.url),
        stack_name=stack_name,
        parameters=parameters,
        template=template,
        options=DeployOptions(poll_s=POLL_S),
    )
    return Relay(
        aws,
        webhook,
        stack_name,
        outputs,
        create_bot_user(aws, outputs["BotPolicyArn"], unique("bot")),
        create_bot_user(aws, outputs["OperatorPolicyArn"], unique("operator")),
    )


class ChangeFailed(Exception):
    """A failed stack update, with CloudFormation's own reasons."""


def change(relay: Relay, parameters: Mapping[str, str]) -> None:
    """Update the stack as ``aws cloudformation deploy`` would, without the checks of our own deploy."""
    cloudformation = relay.aws.client("cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName=relay.stack_name)["Stacks"]
    kept = {entry["ParameterKey"] for entry in stack["Parameters"]} - parameters.keys()
    seen = _event_ids(cloudformation, relay.stack_name)
    try:
        # Send the template itself, because the previous one is already transformed.
        made = cloudformation.create_change_set(
            StackName=relay.stack_name,
            ChangeSetName=unique("change"),
            TemplateBody=build_template(TEMPLATE),
            Parameters=[
                *({"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()),
                *({"ParameterKey": key, "UsePreviousValue": True} for key in kept),
            ],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        cloudformation.get_waiter("change_set_create_complete").wait(
            ChangeSetName=made["Id"], WaiterConfig=WAITING
        )
        cloudformation.execute_change_set(ChangeSetName=made["Id"])
        cloudformation.get_waiter("stack_update_complete").wait(
            StackName=relay.stack_name, WaiterConfig=WAITING
        )
    except botocore.exceptions.ClientError as error:
        raise ChangeFailed(str(error)) from error
    except botocore.exceptions.WaiterError as error:
        events = cloudformation.describe_stack_events(StackName=relay.stack_name)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
            for event in events
            if event["ResourceStatus"].endswith("_FAILED") and event["EventId"] not in seen
        ]
        raise ChangeFailed("; ".join(reasons)) from error


def _event_ids(cloudformation: Any, stack_name: str) -> set[str]:
    events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
    return {event["EventId"] for event in events}

"""What was deployed for a verification, and the calls that its checks make to it."""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import botocore.awsrequest
import botocore.config
import botocore.httpsession
from botocore.credentials import ReadOnlyCredentials

from bot.api.sigv4 import sign
from bot.voice.samples import build_sample
from infra.deploy.account import Account
from infra.verify.users import BOT

PROBE: Final = "probe"
RUNNING: Final = "RUNNING"
SUCCEEDED: Final = "SUCCEEDED"

_T = TypeVar("_T")
_LONG_POLL_S: Final = 70
_POLL_S: Final = 2.0
_EMBEDDED_POLL_S: Final = 0.02


@dataclass(frozen=True)
class Answer:
    """An HTTP response; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error_type(self) -> str:
        """The name in ``__type``, without what stands before it; empty if there is none."""
        try:
            found = self.json()
        except ValueError:
            return ""
        return str(found.get("__type", "")).rpartition("#")[2] if isinstance(found, dict) else ""

    def describe(self) -> str:
        return f"{self.status} {self.error_type or self.text}"


@dataclass
class Site:
    """A relay of a verification's own. ``workflows`` maps those with stacks of their own to their outputs."""

    account: Account
    stack: str
    has_webhook: bool = False
    has_bin: bool = False
    wait_metrics_s: float = 0.0
    outputs: Mapping[str, str] = field(default_factory=dict)
    users: dict[str, ReadOnlyCredentials] = field(default_factory=dict, repr=False)
    workflows: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.states: Any = self.account.client("stepfunctions")
        self.poll_s = _POLL_S
        address = urlsplit(self.states.meta.endpoint_url)
        self._embedded_url = f"{address.scheme}://{address.netloc}" if address.hostname == "127.0.0.1" else ""
        if self.is_embedded:
            self.poll_s = _EMBEDDED_POLL_S
        self._http = botocore.httpsession.URLLib3Session(timeout=40)

    @property
    def is_embedded(self) -> bool:
        """Whether AWS is the one embedded in voice-relay, as in its tests."""
        return bool(self._embedded_url)

    def url(self, path: str) -> str:
        """Return the URL of a route of the ingress."""
        if self._embedded_url:
            # The stack's own endpoint names a host that only AWS serves.
            return f"{self._embedded_url}/_aws/execute-api/{self.outputs['IngressApiId']}{path}"
        return self.outputs["ApiEndpoint"] + path

    def client_as(self, user: str, service: str) -> Any:
        key = self.users[user]
        return self.account.session.create_client(
            service,
            region_name=self.account.region,
            aws_access_key_id=key.access_key,
            aws_secret_access_key=key.secret_key,
            config=botocore.config.Config(read_timeout=_LONG_POLL_S, retries={"total_max_attempts": 1}),
        )

    def post(
        self,
        path: str,
        body: object,
        *,
        who: str = BOT,
        headers: Mapping[str, str] | None = None,
        secret: str | None = None,
        age_s: float = 0.0,
    ) -> Answer:
        """Post *body*, JSON or a text as it is, signed by *who* so long ago.

        Or with another *secret* than that of the user's key.
        """
        key = self.users[who]
        if secret is not None:
            key = ReadOnlyCredentials(key.access_key, secret, None)
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        given = {"content-type": "application/json", **(headers or {})}
        now = datetime.now(UTC) - timedelta(seconds=age_s)
        signed = sign("POST", self.url(path), given, data, key, region=self.account.region, now=now)
        return self._send(path, {**given, **signed}, data)

    def _send(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        request = botocore.awsrequest.AWSRequest("POST", self.url(path), dict(headers), body)
        response = self._http.send(request.prepare())
        names = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, names, response.content.decode(errors="replace"))

    def start(self, workflow: str, body: object, *, name: str | None = None) -> Answer:
        """Start an execution as the bot."""
        return self.post(f"/workflows/{workflow}", body, headers={"execution-name": name or unique()})

    def start_sample(
        self, workflow: str, *, destination: str = "default", parameters: Mapping[str, object] | None = None
    ) -> str:
        """Start an execution with an event, as the bot does, and return its ARN."""
        name = unique()
        batch = {
            "id": name,
            "destination": destination,
            "events": [build_sample("joined")],
            "parameters": parameters or {},
        }
        return started(self.start(workflow, batch, name=name))

    def probe(self, what: str, **more: str) -> str:
        """Start an execution of the probe, and return its ARN."""
        return started(self.start(PROBE, {"try": what, **more}))

    def describe(self, arn: str) -> dict[str, Any] | None:
        """Return the execution; ``None`` while AWS does not know a new one yet."""
        # https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
        try:
            found: dict[str, Any] = self.states.describe_execution(executionArn=arn)
        except self.states.exceptions.ExecutionDoesNotExist:
            return None
        return found

    def finish(self, arn: str, *, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until the execution has ended, and return it."""

        def ended() -> dict[str, Any] | None:
            found = self.describe(arn)
            return found if found and found["status"] != RUNNING else None

        return self.wait_for(ended, f"the end of {arn}", timeout_s=timeout_s)

    def wait_for(self, look: Callable[[], _T | None], what: str, *, timeout_s: float = 60.0) -> _T:
        """Return what *look* finds; raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout_s:.0f} s in vain for {what}")
            time.sleep(self.poll_s)
        return found


def unique() -> str:
    """Return a name for an execution."""
    return f"verify-{uuid.uuid4().hex}"


def started(answer: Answer) -> str:
    """Return the ARN of the execution that was started; raises ValueError."""
    if answer.status != 200:
        raise ValueError(f"the start was answered {answer.describe()}")
    return str(answer.json()["executionArn"])

"""Runs one workflow of your own on the embedded AWS, for its tests; no account, no token, no network.

    from infra.local.workbench import Workbench

    def test_greets():
        with Workbench("greet.asl.json") as bench:
            ended = bench.run(bench.event("joined"))
            assert ended.status == "SUCCEEDED"
            assert bench.posted[0]["content"] == "Hello, <@80351110224678912>!"

The templates are those of a deployment, so the workflow's role may do what it may do on AWS. Wait states
and the intervals of Retry are skipped; ``expire`` ends a wait for a signal. Messages to webhooks are checked
as strictly as Discord does. What the workflow has the bot do in Discord is written down in ``acted`` and
answered from ``answers``; no bot runs.
"""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import pydantic
from botocore.credentials import ReadOnlyCredentials

from bot.api.client import ApiClient
from bot.api.signals import OPERATOR, Answer, Outcome, Sender, Signals
from bot.api.target import FixedCredentials, Target
from bot.voice.samples import build_sample
from infra.deploy.definition import workflow_name
from infra.deploy.engine import DEFAULT_STACK_NAME, DeployOptions, deploy
from infra.deploy.workflow_stack import deploy_workflow, load_workflow
from infra.local.activity_worker import ActivityWorker
from infra.local.aws import EmbeddedAws
from infra.local.discord import StandIn
from infra.local.machine import create_bot_user

__all__ = ["OPERATOR", "Ended", "Sender", "Workbench"]

_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.02
_HOW: Final = DeployOptions(poll_s=_POLL_S)

T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    """An execution that has ended; ``output`` is ``None`` unless it succeeded."""

    status: str
    output: Any
    error: str
    cause: str


class Workbench:
    """A relay on the embedded AWS with the workflow of *definition* beside it; use it in ``with``.

    *definition* is a file, ``NAME.asl.json``; ``NAME.policy.json`` beside it has further permissions.
    """

    def __init__(self, definition: Path | str) -> None:
        path = Path(definition)
        self._workflow = load_workflow(workflow_name(path), path)
        self._stack = ExitStack()
        self._loop = asyncio.new_event_loop()
        self._aws = EmbeddedAws(wait_scale=0)
        self.acted: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @property
    def posted(self) -> list[dict[str, Any]]:
        """The messages that the workflow has posted to the webhook, the first one first."""
        return [message.body for message in self._webhook.messages]

    def event(self, kind: str, **data: Any) -> dict[str, Any]:
        """Return an example of an event (joined, left, moved, updated, gap), with *data* changed."""
        event: dict[str, Any] = dict(build_sample(kind))
        return {**event, "data": {**event["data"], **data}}

    def start(self, *events: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> str:
        """Start an execution as the relay does, and return its name."""
        name = uuid.uuid4().hex
        given = {"id": name, "destination": "default", "parameters": parameters or {}, "events": [*events]}
        self._states.start_execution(stateMachineArn=self._machine, name=name, input=json.dumps(given))
        return name

    def wait(self, name: str) -> Ended:
        """Wait until the execution *name* has ended."""
        return _until(lambda: self._find_end(name), f"the execution {name} does not end")

    def run(self, *events: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Ended:
        """Start an execution and wait until it has ended."""
        return self.wait(self.start(*events, parameters=parameters))

    def signal(self, name: str, signal: str, *, by: Sender = OPERATOR, **data: object) -> str:
        """Send a signal to the execution *name* once it waits, and return what became of it.

        That is ``signalled``, ``not_allowed`` or ``already_decided``. RuntimeError says how it ended without
        waiting.
        """

        def answered() -> Answer | None:
            ended = self._find_end(name)
            answer = self._await(self._send(name, signal, by, data))
            if answer.outcome is not Outcome.NOT_WAITING:
                return answer
            _check_running(name, ended)
            return None

        return str(_until(answered, f"the execution {name} does not wait for a signal").outcome)

    def expire(self, name: str) -> None:
        """Let the TimeoutSeconds of a wait for a signal pass, once the execution *name* waits.

        RuntimeError says how it ended without waiting.
        """

        def find_token() -> str | None:
            ended = self._find_end(name)
            found = self._dynamodb.get_item(TableName=self._waits, Key={"name": {"S": name}}).get("Item", {})
            if "token" in found:
                return str(found["token"]["S"])
            _check_running(name, ended)
            return None

        token = _until(find_token, f"the execution {name} does not wait for a signal")
        self._states.send_task_failure(taskToken=token, error="States.Timeout")

    def _find_end(self, name: str) -> Ended | None:
        arn = f"{self._machine.replace(':stateMachine:', ':execution:')}:{name}"
        found = self._states.describe_execution(executionArn=arn)
        if found["status"] == "RUNNING":
            return None
        output = json.loads(found["output"]) if found["status"] == "SUCCEEDED" else None
        return Ended(found["status"], output, found.get("error", ""), found.get("cause", ""))

    def _open(self) -> None:
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        self._stack.callback(self._end_loop, thread)
        discord = StandIn(webhook_limit=None)
        self._await(discord.__aenter__())
        self._stack.callback(lambda: self._await(discord.__aexit__(None, None, None)))
        self._webhook = discord.add_webhook("relay")
        self._stack.enter_context(self._aws)
        relay = deploy(
            self._aws.client,
            webhook_url=pydantic.SecretStr(self._webhook.url),
            parameters={"Actions": "true"},
            options=_HOW,
        )
        key = create_bot_user(self._aws, relay["BotPolicyArn"], "bot")
        credentials = ReadOnlyCredentials(key.access_key_id, key.secret_access_key, None)
        endpoint = self._aws.api_url(relay["IngressApiId"])
        self._target = Target(endpoint, self._aws.region, FixedCredentials(credentials))
        outputs = deploy_workflow(
            self._aws.client, self._workflow, relay_stack=DEFAULT_STACK_NAME, options=_HOW
        )
        self._machine = outputs["StateMachineArn"]
        self._states = self._aws.client("stepfunctions")
        self._dynamodb, self._waits = self._aws.client("dynamodb"), relay["WaitsTableName"]
        if "acts" in self._workflow.definition.needs:
            worker = ActivityWorker(self._aws, relay["ActionsActivityArn"], self.acted.append, self.answers)
            self._stack.enter_context(worker)

    def _end_loop(self, thread: threading.Thread) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join()
        self._loop.close()

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_TIMEOUT_S)

    async def _send(self, name: str, signal: str, by: Sender, data: Mapping[str, object]) -> Answer:
        async with ApiClient(self._target, max_connections=1) as api:
            return await Signals(api).send(name, signal, by=by, data=data)


def _check_running(name: str, ended: Ended | None) -> None:
    """Raise RuntimeError if the execution *name* had *ended*, so that it never waits."""
    if ended is not None:
        reasons = [text for text in (ended.error, ended.cause) if text]
        raise RuntimeError(
            ": ".join([f"the execution {name} ended as {ended.status}, and waits no more", *reasons])
        )


def _until(look: Callable[[], T | None], failure: str) -> T:
    """Look until there is something; raises TimeoutError."""
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(_POLL_S)
    raise TimeoutError(failure)

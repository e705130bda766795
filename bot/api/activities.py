"""Takes tasks from a Step Functions activity, and reports how they went.

A poll is held for up to a minute until there is a task, so it is cut off only after that. Every other call is
short. A token is a secret: whoever has it can end the task.
"""

# https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetActivityTask.html

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import botocore.config
import botocore.exceptions as aws
import orjson
from botocore.session import Session

from bot.api.client import ApiClient
from bot.api.responses import parse_response
from bot.api.target import Target
from bot.errors import SettingsError

POLL_S: Final = 65.0
"""Five seconds more than Step Functions holds a poll, as its documentation asks for."""

GONE: Final = frozenset({"TaskDoesNotExist", "TaskTimedOut", "InvalidToken"})
"""Codes of a Rejected: Step Functions no longer waits for this task's end."""

# What Step Functions takes.
_ERROR_MAX_CHARS: Final = 256
_CAUSE_MAX_CHARS: Final = 32_768
# An input has at most 256 KiB, and every quotation mark in it arrives escaped.
_TASK_MAX_BYTES: Final = 1 << 20
_POLICY: Final = "bot policy, with the stack's parameter Actions on"


@dataclass(frozen=True, slots=True)
class ActivityTask:
    """A task to do; ``input`` is JSON."""

    token: str = field(repr=False)
    input: str = field(repr=False)


class Activities:
    """The activity *arn* of Step Functions in *target*'s region; open it as a context manager.

    Every method raises a DeliveryError, and those that take a token a Rejected with a code in ``GONE`` for a
    task that is no longer waited for.
    """

    def __init__(self, target: Target, arn: str, states_url: str) -> None:
        self._arn = arn
        self._api = ApiClient(
            replace(target, endpoint=states_url), max_connections=0, service="states", timeout_s=POLL_S
        )

    async def __aenter__(self) -> Self:
        await self._api.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.__aexit__(kind, error, trace)

    async def poll(self) -> ActivityTask | None:
        """Return a task, or ``None`` if there was none for a minute."""
        answer = await self._call("GetActivityTask", {"activityArn": self._arn})
        token, text = answer.get("taskToken"), answer.get("input")
        if not isinstance(token, str) or not token:
            return None
        return ActivityTask(token, text if isinstance(text, str) else "")

    async def succeed(self, token: str, output: Mapping[str, Any]) -> None:
        """End the task with *output*."""
        await self._call("SendTaskSuccess", {"taskToken": token, "output": orjson.dumps(output).decode()})

    async def fail(self, token: str, error: str, cause: str) -> None:
        """End the task with *error*, which the workflow can catch by its name."""
        given = {"error": error[:_ERROR_MAX_CHARS], "cause": cause[:_CAUSE_MAX_CHARS]}
        await self._call("SendTaskFailure", {"taskToken": token, **given})

    async def heartbeat(self, token: str) -> None:
        """Tell that the task is still being worked on."""
        await self._call("SendTaskHeartbeat", {"taskToken": token})

    async def _call(self, action: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": f"AWSStepFunctions.{action}",
        }
        parse = partial(_parse, token=body.get("taskToken"))
        return await self._api.post(
            "/", orjson.dumps(body), parse, headers=headers, response_max_bytes=_TASK_MAX_BYTES
        )


def _parse(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    secrets: Sequence[str],
    *,
    token: str | None,
) -> dict[str, Any]:
    if status == 200 and body.strip() == b"{}":
        return {}
    hidden = [*secrets, token] if token else secrets
    return parse_response(status, headers, body, now, hidden, policy=_POLICY)


def resolve_states_url(region: str, *, open_session: Callable[[], Session] = Session) -> str:
    """Return where Step Functions is: as AWS's own settings say, such as AWS_ENDPOINT_URL, else the region's.

    Reads files. Raises SettingsError.
    """
    try:
        client = open_session().create_client(
            "stepfunctions",
            region_name=region,
            # Only its address is asked for: with others, botocore would look for credentials.
            aws_access_key_id="unused",
            aws_secret_access_key="unused",  # noqa: S106
            config=botocore.config.Config(parameter_validation=False),
        )
    except (aws.BotoCoreError, ValueError) as error:
        raise SettingsError([f"the address of Step Functions in {region} is not known: {error}"]) from None
    return str(client.meta.endpoint_url)

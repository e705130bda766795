"""What a stack's API answers about one execution."""

from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials

from bot.api.execution_arn import ExecutionArn
from bot.api.target import FixedCredentials, Target
from tests.support.ingress import StubIngress

ARN = ExecutionArn("arn:aws:states:us-east-1:123456789012:execution:m:n", "us-east-1", "m", "n")
THROTTLED = b'{"message":"Too Many Requests"}'
Reply = Callable[[web.BaseRequest], Awaitable[web.Response]]


def target(api: StubIngress, region: str = "us-east-1") -> Target:
    key = ReadOnlyCredentials("AKIDEXAMPLE", "secret", None)
    return Target(api.endpoint, region, FixedCredentials(key))


def reply(body: bytes, status: int = 200) -> Reply:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=body, status=status, content_type="application/json")

    return answer


def found(status: str, ended: float | None = None) -> Reply:
    about = {"executionArn": ARN.text, "name": "n", "status": status, "startDate": 1.7952444e9, "input": "{}"}
    if ended is not None:
        about["stopDate"] = ended
    return reply(orjson.dumps({"status": "SUCCEEDED", "output": orjson.dumps(about).decode()}))

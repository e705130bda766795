"""An ingress API for tests that are about the bot: accepts what Step Functions would, and keeps it.

It checks no signature, as the embedded AWS does. Execution names behave like Step Functions'. Executions have
succeeded as soon as they are started, unless ``ends`` says otherwise. Each waits for one signal.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self

import orjson
from aiohttp import web

ARN = "arn:aws:states:us-east-1:123456789012:execution:notify:"
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]]
"""Answers one request in place of the API, unless it returns ``None``."""


class StubIngress:
    """Listens on loopback while open; each of ``answers`` serves one request before its own do.

    ``signals`` has the signal that an execution went on with, by its name; ``signals_asked`` every attempt.
    """

    def __init__(self, *, latency_s: float = 0.0) -> None:
        self.latency_s = latency_s
        self.executions: dict[str, bytes] = {}
        self.ends: dict[str, dict[str, str]] = {}
        self.signals: dict[str, dict[str, Any]] = {}
        self.signals_asked: list[tuple[str, str]] = []
        self.polls = 0
        self.inputs_sent = 0
        self.repeats = 0
        self.requests = 0
        self.answers: deque[Answer] = deque()
        self.changed = asyncio.Event()
        self._events = 0
        self._runner: web.ServerRunner | None = None
        self.endpoint = ""

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._handle))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.endpoint = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def event_count(self) -> int:
        return self._events

    def inputs(self) -> list[dict[str, Any]]:
        """Return the inputs of the executions, in the order of their start."""
        return [orjson.loads(body) for body in self.executions.values()]

    def events(self) -> list[dict[str, Any]]:
        """Return the events of all executions, in order within a lane."""
        # A heartbeat has none.
        return [event for given in self.inputs() for event in given.get("events", ())]

    async def wait_for_events(self, count: int, timeout_s: float = 60) -> None:
        async with asyncio.timeout(timeout_s):
            while self._events < count:
                self.changed.clear()
                await self.changed.wait()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        self.changed.set()
        body = await request.read()
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if self.answers:
            answer = await self.answers.popleft()(request)
            if answer is not None:
                return answer
        if request.path == "/executions/status":
            asked = orjson.loads(body)
            self.inputs_sent += not asked.get("brief")
            return self.describe(asked["executionArn"])
        if request.path == "/executions/signal":
            return self.signal(orjson.loads(body))
        return self.accept(request.headers["Execution-Name"], body)

    def describe(self, arn: str) -> web.Response:
        """Answer as the workflow ``status`` does; ``ends`` has fields of executions by name."""
        self.polls += 1
        name = arn.removeprefix(ARN)
        run: dict[str, Any] = {
            "status": "FAILED",
            "error": "ExecutionNotFound",
            "cause": f"no execution {arn}",
        }
        if name in self.executions:
            found = {"executionArn": arn, "name": name, "status": "SUCCEEDED", "startDate": 1.7e9}
            run = {"status": "SUCCEEDED", "output": orjson.dumps(found | self.ends.get(name, {})).decode()}
        return web.Response(body=orjson.dumps(run), content_type="application/json")

    def signal(self, asked: dict[str, Any]) -> web.Response:
        """Answer as the workflow ``signal`` does: an execution takes the first signal, whatever it is."""
        name = asked["name"]
        self.signals_asked.append((name, asked["signal"]))
        answer: dict[str, Any] = {"outcome": "not_waiting"}
        if name in self.signals:
            decided = {key: self.signals[name][key] for key in ("signal", "by")}
            at = "2025-11-21T07:00:00.000Z"
            answer = {
                "outcome": "already_decided",
                "signal": decided["signal"],
                "by": decided["by"],
                "at": at,
            }
        elif name in self.executions:
            self.signals[name] = asked
            self.changed.set()
            answer = {"outcome": "signalled"}
        run = {"status": "SUCCEEDED", "output": orjson.dumps(answer).decode()}
        return web.Response(body=orjson.dumps(run), content_type="application/json")

    def accept(self, name: str, body: bytes) -> web.Response:
        """Start an execution, as Step Functions does: the same name and input again is the same execution."""
        known = self.executions.get(name)
        if known is None:
            self.executions[name] = body
            self._events += body.count(b'"specversion"')
            self.changed.set()
        elif known == body:
            self.repeats += 1
        else:
            message = f"Execution Already Exists: '{ARN}{name}'"
            kind = "com.amazonaws.swf.service.v2.model#ExecutionAlreadyExists"
            return web.json_response({"__type": kind, "message": message}, status=400)
        return web.Response(
            body=orjson.dumps({"executionArn": ARN + name, "startDate": 1.7e9}),
            content_type="application/json",
        )

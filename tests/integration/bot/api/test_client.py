"""The API client over real sockets: what it sends, and what it makes of every kind of response."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials

import bot.api.client
from bot.api.client import ApiClient
from bot.api.target import Target
from bot.errors import DeliveryError, Rejected, TemporaryFailure, Unauthorized
from tests.support.ingress import ARN, StubIngress
from tests.support.signatures import parse_signed_headers, recompute_authorization

CREDENTIALS = ReadOnlyCredentials("AKIAEXAMPLE", "a/secret+key=", "a//session+token==")
REGION = "eu-central-1"
NOW = datetime(2026, 11, 21, 7, 0, 0, tzinfo=UTC)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 38\r\n\r\n"
STARTED = b'{"executionArn":"arn:x","startDate":1}'

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def start(client: ApiClient, body: bytes = b'{"id":"1-A","events":[]}') -> str:
    return await client.start("notify", "1-A", body)


class Keys:
    """Provides the same credentials, or an error, and counts how often they were forgotten."""

    def __init__(self, error: DeliveryError | None = None) -> None:
        self.error = error
        self.forgotten = 0

    async def get(self) -> ReadOnlyCredentials:
        if self.error is not None:
            raise self.error
        return CREDENTIALS

    def forget(self) -> None:
        self.forgotten += 1


def connect(endpoint: str, keys: Keys | None = None, now: Callable[[], datetime] = lambda: NOW) -> ApiClient:
    return ApiClient(Target(endpoint, REGION, keys or Keys()), max_connections=4, utc_now=now)


@pytest.fixture
async def stub() -> AsyncIterator[StubIngress]:
    async with StubIngress() as stub:
        yield stub


@asynccontextmanager
async def raw_server(serve: Serve) -> AsyncIterator[str]:
    """Serve each connection with *serve*; yields the URL."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await serve(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-le")
    )
    return head + await reader.readexactly(length)


@pytest.mark.parametrize("body", [b"{}", '{"name":"\N{PARTY POPPER} Zoë"}'.encode(), b"x" * 250_000])
async def test_signature_on_wire_is_botocores(stub: StubIngress, body: bytes) -> None:
    seen: list[str] = []

    async def check(request: web.BaseRequest) -> None:
        url = stub.endpoint + request.raw_path
        sent = await request.read()
        assert sent == body
        theirs = recompute_authorization(
            request.method, url, request.headers, sent, CREDENTIALS, region=REGION
        )
        assert request.headers["Authorization"] == theirs
        assert request.headers["X-Amz-Security-Token"] == CREDENTIALS.token
        seen.append(request.headers["Authorization"])

    stub.answers.append(check)
    async with connect(stub.endpoint) as client:
        assert await start(client, body) == ARN + "1-A"
    (authorization,) = seen
    assert set(parse_signed_headers(authorization)) >= {
        "host", "x-amz-date", "x-amz-security-token", "content-type", "execution-name",
    }  # fmt: skip


async def test_signs_every_attempt_anew(stub: StubIngress) -> None:
    dates: list[str] = []

    async def note(request: web.BaseRequest) -> None:
        dates.append(request.headers["X-Amz-Date"])

    stub.answers.extend([note, note])
    times = iter([NOW, NOW, NOW + timedelta(minutes=6), NOW + timedelta(minutes=6)])
    async with connect(stub.endpoint, now=lambda: next(times)) as client:
        first = await start(client)
        assert await start(client) == first
    assert dates == ["20261121T070000Z", "20261121T070600Z"]
    assert (len(stub.executions), stub.repeats) == (1, 1)


@pytest.mark.parametrize("status", [400, 403, 413, 502])
async def test_error_repeats_no_credential(stub: StubIngress, status: int) -> None:
    """A proxy may answer with the request that it got."""
    secrets: list[str] = []

    async def echo(request: web.BaseRequest) -> web.Response:
        token, authorization = (request.headers[name] for name in ("X-Amz-Security-Token", "Authorization"))
        secrets.extend([token, authorization.rpartition("=")[2]])
        said = f"refused {token} {authorization}, {secrets[1]}"
        return web.json_response({"message": said, "__type": "a#" + said}, status=status)

    stub.answers.append(echo)
    async with connect(stub.endpoint) as client:
        with pytest.raises(DeliveryError) as caught:
            await start(client)
    said = f"{caught.value} {caught.value.code}"
    assert len(secrets) == 2
    assert not [secret for secret in secrets if secret[:8] in said]


async def test_unreadable_response_is_quoted() -> None:
    """aiohttp's error has the bytes that it could not parse."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\x1b]0;x\x07 " + b"x" * 5000 + b"\r\n\r\n")

    async with raw_server(serve) as url, connect(url) as client:
        with pytest.raises(TemporaryFailure) as caught:
            await start(client)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


async def test_keeps_connection_alive() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(20):
            await read_request(reader)
            writer.write(OK + STARTED)

    async with raw_server(serve) as url, connect(url) as client:
        for _ in range(20):
            await start(client)
    assert connections == 1


async def test_limits_connections() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while not reader.at_eof():
            try:
                await read_request(reader)
            except asyncio.IncompleteReadError:
                return
            await asyncio.sleep(0)
            writer.write(OK + STARTED)

    async with raw_server(serve) as url, connect(url) as client:
        await asyncio.gather(*(start(client) for _ in range(40)))
    assert connections == 4


async def test_reads_response_in_pieces() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                await read_request(reader)
            except asyncio.IncompleteReadError:
                return
            writer.write(OK + STARTED[:10])
            await writer.drain()
            # Any later turn of the loop will do: by then the client has read the first piece.
            for _ in range(50):
                await asyncio.sleep(0)
            writer.write(STARTED[10:])

    async with raw_server(serve) as url, connect(url) as client:
        assert await start(client) == "arn:x"


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)


async def _hang_up_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pass


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.transport.abort()


async def _break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(OK + STARTED[:20])


async def _answer_smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"220 mail.example ESMTP\r\n\r\n")


async def _claim_gzip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + STARTED)


async def _answer_without_an_arn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


@pytest.mark.parametrize(
    "serve",
    [_hang_up, _hang_up_at_once, _reset, _break_off, _answer_smtp, _claim_gzip, _answer_without_an_arn],
)
async def test_broken_response_is_temporary(serve: Serve) -> None:
    async with raw_server(serve) as url, connect(url) as client:
        with pytest.raises(TemporaryFailure):
            await start(client)


async def test_timeout_is_temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot.api.client, "TIMEOUT_S", 0.05)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(serve) as url, connect(url) as client:
        with pytest.raises(TemporaryFailure, match="in time") as caught:
            await start(client)
    assert caught.value.code == "Timeout"


async def test_closed_port_is_temporary() -> None:
    async with raw_server(_hang_up) as url:
        pass
    async with connect(url) as client:
        with pytest.raises(TemporaryFailure) as caught:
            await start(client)
    reason = f"cannot reach the API: {url.removeprefix('http://')}: Connection refused; "
    assert str(caught.value) == f"{reason}check VOICE_RELAY_API_ENDPOINT and the network"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_follows_no_redirect(stub: StubIngress, status: int) -> None:
    async def redirect(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": stub.endpoint + "/elsewhere"})

    stub.answers.append(redirect)
    async with connect(stub.endpoint) as client:
        with pytest.raises(TemporaryFailure, match=str(status)):
            await start(client)
    assert (stub.requests, stub.executions) == (1, {})


async def test_cuts_endless_response() -> None:
    written = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while written < 1_000_000_000:
                writer.write(b"x" * 65536)
                written += 65536
                await writer.drain()
        except ConnectionError:
            pass

    async with raw_server(serve) as url, connect(url) as client:
        with pytest.raises(Rejected):
            await start(client)
    # Includes what the sockets' buffers took.
    assert written < 50_000_000


async def test_refusal_forgets_credentials(stub: StubIngress) -> None:
    async def forbid(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"message": "Forbidden"}, status=403)

    keys = Keys()
    stub.answers.append(forbid)
    async with connect(stub.endpoint, keys, lambda: datetime.now(UTC)) as client:
        with pytest.raises(Unauthorized, match="bot policy"):
            await start(client)
        assert keys.forgotten == 1
        await start(client)
    assert keys.forgotten == 1


async def test_refusal_names_wrong_clock(stub: StubIngress) -> None:
    async def forbid(_: web.BaseRequest) -> web.StreamResponse:
        date = "Sat, 21 Nov 2026 07:20:00 GMT"
        return web.json_response({"message": "Forbidden"}, status=403, headers={"Date": date})

    stub.answers.append(forbid)
    async with connect(stub.endpoint) as client:
        with pytest.raises(Unauthorized, match="1200 s behind"):
            await start(client)


async def test_sends_nothing_without_credentials(stub: StubIngress) -> None:
    async with connect(stub.endpoint, Keys(Unauthorized("none found"))) as client:
        with pytest.raises(Unauthorized, match="none found"):
            await start(client)
    assert stub.requests == 0


async def test_existing_execution_is_success(stub: StubIngress) -> None:
    async with connect(stub.endpoint) as client:
        await start(client, b"{}")
        assert await start(client, b'{"other":1}') == ARN + "1-A"


async def test_skips_interim_response() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK + STARTED)

    async with raw_server(serve) as url, connect(url) as client:
        assert await start(client) == "arn:x"


async def test_early_answer_costs_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of the refused request must not be read as the next one."""
    monkeypatch.setattr(bot.api.client, "TIMEOUT_S", 5.0)
    connections = 0
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
            # Nothing more is read, and the connection stays open.
            await done.wait()
            return
        await read_request(reader)
        writer.write(OK + STARTED)

    async with raw_server(serve) as url, connect(url) as client:
        with pytest.raises(Rejected):
            await start(client, b"x" * 30_000_000)
        assert await start(client) == "arn:x"
        done.set()
    assert connections == 2


async def test_refuses_line_break_in_header(stub: StubIngress) -> None:
    async with connect(stub.endpoint) as client:
        with pytest.raises(ValueError, match="line break"):
            await client.start("notify", "1-A\r\nx-injected: 1", b"{}")
    assert stub.requests == 0

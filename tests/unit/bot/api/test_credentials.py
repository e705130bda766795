"""Credentials found by botocore's real chain and refreshed off the event loop."""

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials
from botocore.session import Session

from bot.api.credentials import ChainCredentials
from bot.errors import TemporaryFailure, Unauthorized

WAIT_MAX_S = 10
ALMOST_DUE_S = 14 * 60.0
"""botocore refreshes credentials that expire sooner than in 15 minutes, and so asks twice for these."""
OVERDUE_S = 9 * 60.0
"""With less than 10 minutes left, botocore raises when a refresh fails."""


class Container:
    """A container's credential endpoint that counts the requests."""

    def __init__(self) -> None:
        self.asked = 0
        self.lifetime_s = 3600.0
        self.status = 200
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.url = ""

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.may_answer.wait()
        if self.status != 200:
            return web.json_response({"message": "a-private-detail"}, status=self.status)
        until = datetime.now(UTC) + timedelta(seconds=self.lifetime_s)
        return web.json_response(
            {
                "AccessKeyId": f"ASIA-{self.asked}",
                "SecretAccessKey": f"secret-{self.asked}",
                "Token": f"token-{self.asked}",
                "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )


@pytest.fixture
async def container(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Container]:
    endpoint = Container()
    app = web.Application()
    app.router.add_get("/credentials", endpoint.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/credentials"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint.url)
    yield endpoint
    endpoint.may_answer.set()
    await runner.cleanup()


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def make_credentials(
    add_secret: Callable[[str], object] = lambda _: None, **options: Any
) -> ChainCredentials:
    return ChainCredentials(add_secret=add_secret, **options)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_MAX_S):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.005)


def looking_up() -> bool:
    """Tell whether a lookup thread runs."""
    return any(thread.name == "credentials" for thread in threading.enumerate())


async def changed(credentials: ChainCredentials, first: ReadOnlyCredentials) -> ReadOnlyCredentials:
    """Wait until *credentials* returns others than *first*."""
    async with asyncio.timeout(WAIT_MAX_S):
        while (now := await credentials.get()) == first:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return now


def use_environment(monkeypatch: pytest.MonkeyPatch, number: int = 1) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIA-{number}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"secret-{number}")


async def test_finds_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    use_environment(monkeypatch)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-1")
    secrets: list[str] = []
    found = await make_credentials(secrets.append).get()
    assert tuple(found)[:3] == ("AKIA-1", "secret-1", "token-1")
    assert set(secrets) == {"AKIA-1", "secret-1", "token-1"}


async def test_finds_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text(
        "[relay]\naws_access_key_id = AKIA-P\naws_secret_access_key = secret-p\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "relay")
    assert (await make_credentials().get()).access_key == "AKIA-P"


async def test_finds_credential_process(tmp_path: Path) -> None:
    answer = {"Version": 1, "AccessKeyId": "AKIA-X", "SecretAccessKey": "secret-x"}
    (tmp_path / "give.py").write_text(f"print({json.dumps(answer)!r})")
    process = f"{sys.executable} {tmp_path / 'give.py'}"
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {process}\n")
    assert (await make_credentials().get()).secret_key == "secret-x"


async def test_finds_container(container: Container) -> None:
    secrets: list[str] = []
    found = await make_credentials(secrets.append).get()
    assert tuple(found)[:3] == ("ASIA-1", "secret-1", "token-1")
    assert set(secrets) == {"ASIA-1", "secret-1", "token-1"}


async def test_looks_up_once_on_thread(container: Container) -> None:
    """The loop stays free: the endpoint runs on it too, and could not answer otherwise."""
    container.may_answer.clear()
    credentials = make_credentials()
    waiting = [asyncio.create_task(credentials.get()) for _ in range(20)]
    await until(lambda: container.asked == 1)
    container.may_answer.set()
    assert len(set(await asyncio.gather(*waiting))) == 1
    await credentials.get()
    assert container.asked == 1


async def test_fresh_ones_need_no_thread(container: Container) -> None:
    credentials = make_credentials()
    await credentials.get()
    threads = threading.active_count()
    coroutine = credentials.get()
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert isinstance(done.value.value, ReadOnlyCredentials)
    assert threading.active_count() <= threads


async def test_refreshes_in_background(container: Container) -> None:
    container.lifetime_s = ALMOST_DUE_S
    clock = Clock()
    credentials = make_credentials(monotonic_s=clock)
    first = await credentials.get()
    before = container.asked
    container.lifetime_s = 3600
    container.may_answer.clear()
    clock.now_s += 60
    assert await credentials.get() == first
    await until(lambda: container.asked == before + 1)
    assert await credentials.get() == first
    container.may_answer.set()
    new = await changed(credentials, first)
    assert new.secret_key == f"secret-{before + 1}"
    assert container.asked == before + 1


@pytest.mark.parametrize("lifetime_s", [ALMOST_DUE_S, OVERDUE_S])
async def test_keeps_valid_ones_if_refresh_fails(
    container: Container, caplog: pytest.LogCaptureFixture, lifetime_s: float
) -> None:
    container.lifetime_s = lifetime_s
    clock = Clock()
    credentials = make_credentials(monotonic_s=clock)
    first = await credentials.get()
    before = container.asked
    container.status = 500
    clock.now_s += 60
    with structlog.testing.capture_logs() as logs:
        assert await credentials.get() == first
        await until(lambda: bool(caplog.records if lifetime_s == ALMOST_DUE_S else logs))
    assert container.asked > before
    assert await credentials.get() == first
    assert "a-private-detail" not in repr(logs)


async def test_background_refresh_is_limited(container: Container) -> None:
    """Credentials that live for less than 15 minutes are always due for refresh."""
    container.lifetime_s = ALMOST_DUE_S
    clock = Clock()
    credentials = make_credentials(monotonic_s=clock)
    first = await credentials.get()
    before = container.asked
    await until(lambda: not looking_up())
    container.may_answer.clear()
    for _ in range(20):
        assert await credentials.get() == first
        await asyncio.sleep(0)
    assert not looking_up()
    container.may_answer.set()
    clock.now_s += 60
    for _ in range(20):
        await credentials.get()
    await changed(credentials, first)
    assert container.asked == before + 1


async def test_waits_if_about_to_expire(container: Container) -> None:
    container.lifetime_s = 30
    credentials = make_credentials()
    first = await credentials.get()
    container.lifetime_s = 3600
    assert await credentials.get() != first


async def test_forget_looks_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    use_environment(monkeypatch, 1)
    credentials = make_credentials()
    await credentials.get()
    use_environment(monkeypatch, 2)
    assert (await credentials.get()).secret_key == "secret-1"
    credentials.forget()
    assert (await credentials.get()).secret_key == "secret-2"


async def test_finds_credentials_set_later(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = make_credentials()
    with pytest.raises(Unauthorized, match=r"no AWS credentials found: .*AWS_PROFILE.*aws sso login.*role"):
        await credentials.get()
    use_environment(monkeypatch)
    assert (await credentials.get()).secret_key == "secret-1"


async def test_cancelled_caller_leaves_lookup_running(container: Container) -> None:
    container.may_answer.clear()
    credentials = make_credentials()
    first, second = asyncio.create_task(credentials.get()), asyncio.create_task(credentials.get())
    await until(lambda: container.asked == 1)
    first.cancel()
    container.may_answer.set()
    assert (await second).secret_key == "secret-1"


async def test_wait_has_a_limit(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.api.credentials._WAIT_MAX_S", 0.05)
    container.may_answer.clear()
    with pytest.raises(TemporaryFailure, match="did not answer within") as caught:
        await make_credentials().get()
    assert caught.value.code == "Timeout"


class Source:
    """Opens sessions whose lookups hang until ``may_answer``; each then finds a key with its number."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = threading.Event()

    def open(self) -> Session:
        self.asked += 1
        secret = f"secret-{self.asked}"
        session = Session()
        self.may_answer.wait(WAIT_MAX_S)
        session.set_credentials("AKIA", secret)
        return session


async def test_hung_source_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first lookup never ends; then the source is asked after 1, 2, 4 times the wait, not each time."""
    monkeypatch.setattr("bot.api.credentials._WAIT_MAX_S", 0.02)
    source, clock, asked = Source(), Clock(), []
    credentials = make_credentials(open_session=source.open, monotonic_s=clock)
    for _ in range(8):
        with pytest.raises(TemporaryFailure, match="did not answer within"):
            await credentials.get()
        asked.append(source.asked)
        clock.now_s += 0.03
    assert asked == [1, 2, 2, 3, 3, 3, 4, 4]
    monkeypatch.setattr("bot.api.credentials._WAIT_MAX_S", WAIT_MAX_S)
    source.may_answer.set()
    assert (await credentials.get()).secret_key == "secret-4"


async def test_forget_outdates_lookup() -> None:
    """What was being looked up when the API refused it is not kept."""
    source = Source()
    credentials = make_credentials(open_session=source.open)
    first = asyncio.create_task(credentials.get())
    await until(lambda: source.asked == 1)
    credentials.forget()
    second = asyncio.create_task(credentials.get())
    await until(lambda: source.asked == 2)
    source.may_answer.set()
    assert [(await first).secret_key, (await second).secret_key] == ["secret-1", "secret-2"]
    assert (await credentials.get()).secret_key == "secret-2"


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
async def test_line_break_is_unauthorized(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    use_environment(monkeypatch)
    monkeypatch.setenv(name, "half\nhalf")
    with pytest.raises(Unauthorized, match="line break") as caught:
        await make_credentials().get()
    assert "half" not in str(caught.value)


async def test_failing_endpoint_is_temporary(container: Container) -> None:
    container.status = 404
    with pytest.raises(TemporaryFailure, match="returned none: check the container") as caught:
        await make_credentials().get()
    assert "a-private-detail" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def config(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)


SSO = """
sso_start_url = https://x.awsapps.com/start
sso_region = eu-west-1
sso_account_id = 1
sso_role_name = r
"""


@pytest.mark.parametrize(
    ("text", "environment", "kind", "match"),
    [
        ("", {"AWS_PROFILE": "gone"}, Unauthorized, "profile that is not in the AWS config files"),
        ("", {"AWS_ACCESS_KEY_ID": "AKIA"}, Unauthorized, "incomplete"),
        (f"[default]{SSO}", {}, Unauthorized, "aws sso login"),
        ("[default\n", {}, Unauthorized, "config files are not usable"),
        ("[default]\nrole_arn = r\nsource_profile = gone\n", {}, Unauthorized, "config files are not usable"),
        (
            "[default]\nrole_arn = r\ncredential_source = Moon\n",
            {},
            Unauthorized,
            "config files are not usable",
        ),
        (
            "[default]\ncredential_process = /nonexistent\n",
            {},
            TemporaryFailure,
            "credential_process by hand",
        ),
        (f"[default]\ncredential_process = {sys.executable} -c 1\n", {}, TemporaryFailure, "by hand"),
    ],
)
async def test_explains_wrong_configuration(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    environment: dict[str, str],
    kind: type[Exception],
    match: str,
) -> None:
    config(tmp_path, text)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind, match=match):
        await make_credentials().get()


async def test_every_lookup_opens_new_session() -> None:
    """A session caches the files that it read."""
    opened: list[Session] = []

    def open_session() -> Session:
        opened.append(Session())
        return opened[-1]

    credentials = make_credentials(open_session=open_session)
    for _ in range(2):
        with pytest.raises(Unauthorized):
            await credentials.get()
    assert len(opened) == 2

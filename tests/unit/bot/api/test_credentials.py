"""Credentials: found by botocore's real chain, renewed off the loop, explained where there are none."""

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.exceptions as aws
import pytest
import structlog
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials
from botocore.session import Session

from bot.api.credentials import CredentialSource, explain, resolve_region
from bot.errors import SettingsError, TemporaryFailure, Unauthorized

WAIT_MAX_S = 10
ALMOST_DUE_S = 14 * 60.0
"""botocore would renew what lives no longer than that, and does so once more as soon as it has got it."""
OVERDUE_S = 9 * 60.0
"""Here it no longer takes it lightly when that fails."""


@pytest.fixture(autouse=True)
def _no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing tells any credentials or region."""
    for name in (
        "ACCESS_KEY_ID",
        "SECRET_ACCESS_KEY",
        "SESSION_TOKEN",
        "PROFILE",
        "DEFAULT_PROFILE",
        "REGION",
    ):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in (
        "AWS_DEFAULT_REGION",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("HOME", str(tmp_path))
    # botocore tries a container's endpoint three times, with a second between.
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)


class Container:
    """A stand-in for the credential endpoint of a container, counting how often it is asked."""

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
    """A monotonic clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def make_source(add_secret: Callable[[str], object] = lambda _: None, **options: Any) -> CredentialSource:
    return CredentialSource(add_secret=add_secret, **options)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_MAX_S):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)


def looking() -> bool:
    """Tell whether there is a thread that looks for credentials."""
    return any(thread.name == "credentials" for thread in threading.enumerate())


async def changed(source: CredentialSource, first: ReadOnlyCredentials) -> ReadOnlyCredentials:
    """Wait until *source* hands out others than *first*."""
    async with asyncio.timeout(WAIT_MAX_S):
        while (now := await source.get()) == first:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return now


def use_environment(monkeypatch: pytest.MonkeyPatch, number: int = 1) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIA-{number}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"secret-{number}")


async def test_finds_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    use_environment(monkeypatch)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-1")
    secrets: list[str] = []
    found = await make_source(secrets.append).get()
    assert tuple(found)[:3] == ("AKIA-1", "secret-1", "token-1")
    assert set(secrets) == {"AKIA-1", "secret-1", "token-1"}


async def test_finds_those_of_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text(
        "[relay]\naws_access_key_id = AKIA-P\naws_secret_access_key = secret-p\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "relay")
    assert (await make_source().get()).access_key == "AKIA-P"


async def test_finds_those_of_a_process(tmp_path: Path) -> None:
    answer = {"Version": 1, "AccessKeyId": "AKIA-X", "SecretAccessKey": "secret-x"}
    (tmp_path / "give.py").write_text(f"print({json.dumps(answer)!r})")
    process = f"{sys.executable} {tmp_path / 'give.py'}"
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {process}\n")
    assert (await make_source().get()).secret_key == "secret-x"


async def test_finds_those_of_a_container(container: Container) -> None:
    secrets: list[str] = []
    found = await make_source(secrets.append).get()
    assert tuple(found)[:3] == ("ASIA-1", "secret-1", "token-1")
    assert set(secrets) == {"ASIA-1", "secret-1", "token-1"}


async def test_looks_on_a_thread_and_only_once(container: Container) -> None:
    """The loop goes on turning meanwhile; the endpoint, which is on it, could not answer otherwise."""
    container.may_answer.clear()
    source = make_source()
    waiting = [asyncio.create_task(source.get()) for _ in range(20)]
    await until(lambda: container.asked == 1)
    container.may_answer.set()
    assert len(set(await asyncio.gather(*waiting))) == 1
    await source.get()
    assert container.asked == 1


async def test_needs_no_thread_while_they_are_fresh(container: Container) -> None:
    source = make_source()
    await source.get()
    threads = threading.active_count()
    coroutine = source.get()
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert isinstance(done.value.value, ReadOnlyCredentials)
    assert threading.active_count() <= threads


async def test_renews_beside_while_they_are_still_good(container: Container) -> None:
    container.lifetime_s = ALMOST_DUE_S
    clock = Clock()
    source = make_source(monotonic_s=clock)
    first = await source.get()
    before = container.asked
    container.lifetime_s = 3600
    container.may_answer.clear()
    clock.now_s += 60
    assert await source.get() == first
    await until(lambda: container.asked == before + 1)
    assert await source.get() == first
    container.may_answer.set()
    new = await changed(source, first)
    assert new.secret_key == f"secret-{before + 1}"
    assert container.asked == before + 1


@pytest.mark.parametrize("lifetime_s", [ALMOST_DUE_S, OVERDUE_S])
async def test_goes_on_with_what_is_good_when_renewal_fails(
    container: Container, caplog: pytest.LogCaptureFixture, lifetime_s: float
) -> None:
    container.lifetime_s = lifetime_s
    clock = Clock()
    source = make_source(monotonic_s=clock)
    first = await source.get()
    before = container.asked
    container.status = 500
    clock.now_s += 60
    with structlog.testing.capture_logs() as logs:
        assert await source.get() == first
        await until(lambda: bool(caplog.records if lifetime_s == ALMOST_DUE_S else logs))
    assert container.asked > before
    assert await source.get() == first
    assert "a-private-detail" not in repr(logs)


async def test_does_not_ask_again_at_once(container: Container) -> None:
    """Credentials that live for less than a quarter of an hour are due for renewal all the time."""
    container.lifetime_s = ALMOST_DUE_S
    clock = Clock()
    source = make_source(monotonic_s=clock)
    first = await source.get()
    before = container.asked
    await until(lambda: not looking())
    container.may_answer.clear()
    for _ in range(20):
        assert await source.get() == first
        await asyncio.sleep(0)
    assert not looking()
    container.may_answer.set()
    clock.now_s += 60
    for _ in range(20):
        await source.get()
    await changed(source, first)
    assert container.asked == before + 1


async def test_waits_for_new_ones_when_they_are_about_to_end(container: Container) -> None:
    container.lifetime_s = 30
    source = make_source()
    first = await source.get()
    container.lifetime_s = 3600
    assert await source.get() != first


async def test_looks_anew_after_it_was_told_to_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    use_environment(monkeypatch, 1)
    source = make_source()
    await source.get()
    use_environment(monkeypatch, 2)
    assert (await source.get()).secret_key == "secret-1"
    source.forget()
    assert (await source.get()).secret_key == "secret-2"


async def test_finds_what_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source()
    with pytest.raises(
        Unauthorized, match=r"no AWS credentials were found: .*AWS_PROFILE.*aws sso login.*role"
    ):
        await source.get()
    use_environment(monkeypatch)
    assert (await source.get()).secret_key == "secret-1"


async def test_one_who_gives_up_does_not_end_it_for_the_others(container: Container) -> None:
    container.may_answer.clear()
    source = make_source()
    first, second = asyncio.create_task(source.get()), asyncio.create_task(source.get())
    await until(lambda: container.asked == 1)
    first.cancel()
    container.may_answer.set()
    assert (await second).secret_key == "secret-1"


async def test_does_not_wait_for_ever(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.api.credentials._WAIT_MAX_S", 0.05)
    container.may_answer.clear()
    with pytest.raises(TemporaryFailure, match="has not answered") as caught:
        await make_source().get()
    assert caught.value.code == "Timeout"


async def test_an_endpoint_that_fails_is_a_matter_of_time(container: Container) -> None:
    container.status = 404
    with pytest.raises(TemporaryFailure, match="gave none: check the role") as caught:
        await make_source().get()
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
        ("", {"AWS_PROFILE": "gone"}, Unauthorized, "profile that the AWS config files do not have"),
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
async def test_explains_what_is_wrong(
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
        await make_source().get()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", Unauthorized),
        (403, "ExpiredToken", Unauthorized),
        (400, "Throttling", TemporaryFailure),
        (429, "TooManyRequests", TemporaryFailure),
        (503, "ServiceUnavailable", TemporaryFailure),
    ],
)
def test_explains_what_sts_answered(status: int, code: str, kind: type[Exception]) -> None:
    answer: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = explain(aws.ClientError(answer, "AssumeRole"))
    assert type(error) is kind
    assert (error.status, error.code) == (status, code)


@pytest.mark.parametrize(
    ("error", "kind", "match"),
    [
        (aws.EndpointConnectionError(endpoint_url="https://sts"), TemporaryFailure, "cannot be reached"),
        (aws.ReadTimeoutError(endpoint_url="https://sts"), TemporaryFailure, "cannot be reached"),
        (aws.UnauthorizedSSOTokenError(), Unauthorized, "aws sso login"),
        (aws.TokenRetrievalError(provider="sso", error_msg="m"), Unauthorized, "aws sso login"),
        (aws.LoginRefreshRequired(), Unauthorized, "aws login"),
        (aws.UnknownCredentialError(name="Moon"), Unauthorized, "config files are not usable"),
        (RuntimeError("still expired"), TemporaryFailure, "gave none"),
    ],
)
def test_explains_what_botocore_raised(error: Exception, kind: type[Exception], match: str) -> None:
    explained = explain(error)
    assert type(explained) is kind
    assert match in str(explained)


ENDPOINT = "https://a1.execute-api.ap-south-1.amazonaws.com"


@pytest.mark.parametrize(
    ("endpoint", "configured", "region"),
    [
        (ENDPOINT, None, "ap-south-1"),
        ("https://relay.example.com", "eu-west-3", "eu-west-3"),
        ("https://relay.example.com", None, "sa-east-1"),
    ],
)
def test_the_region_is_the_configured_one_then_the_endpoint_s_then_aws_s(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, configured: str | None, region: str
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    assert resolve_region(endpoint, configured) == region


def test_the_region_is_the_one_that_aws_platforms_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    assert resolve_region("https://relay.example.com", None) == "eu-north-1"


def test_the_region_is_read_from_a_profile(tmp_path: Path) -> None:
    config(tmp_path, "[default]\nregion = ca-west-1\n")
    assert resolve_region("http://127.0.0.1:1", None) == "ca-west-1"


def test_a_region_that_nothing_tells_is_a_problem_of_the_settings() -> None:
    with pytest.raises(SettingsError, match="VOICE_RELAY_AWS_REGION is not set"):
        resolve_region("http://127.0.0.1:1", None)


def test_a_profile_that_is_missing_is_a_problem_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "gone")
    with pytest.raises(SettingsError, match="AWS_PROFILE"):
        resolve_region("http://127.0.0.1:1", None)


async def test_a_new_session_is_opened_for_every_new_search() -> None:
    """A session remembers the files that it read."""
    opened: list[Session] = []

    def open_session() -> Session:
        opened.append(Session())
        return opened[-1]

    source = make_source(open_session=open_session)
    for _ in range(2):
        with pytest.raises(Unauthorized):
            await source.get()
    assert len(opened) == 2

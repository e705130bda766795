"""Credentials found by botocore's real chain and refreshed off the event loop."""

import asyncio
import threading

import pytest
import structlog
from botocore.credentials import ReadOnlyCredentials
from botocore.session import Session

from bot.api.credentials import ChainCredentials
from bot.errors import TemporaryFailure, Unauthorized
from tests.support.credentials import WAIT_MAX_S, Container, make_credentials, until, use_environment

ALMOST_DUE_S = 14 * 60.0
"""botocore refreshes credentials that expire sooner than in 15 minutes, and so asks twice for these."""
OVERDUE_S = 9 * 60.0
"""With less than 10 minutes left, botocore raises when a refresh fails."""


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def looking_up() -> bool:
    """Tell whether a lookup thread runs."""
    return any(thread.name == "credentials" for thread in threading.enumerate())


async def changed(credentials: ChainCredentials, first: ReadOnlyCredentials) -> ReadOnlyCredentials:
    """Wait until *credentials* returns others than *first*."""
    async with asyncio.timeout(WAIT_MAX_S):
        while (now := await credentials.get()) == first:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return now


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

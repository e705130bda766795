"""Faults that need a process of its own: credentials, compression, disks; each with an exact audit."""

import random
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from infra.local.discord import Guild, StandIn
from infra.local.discord.compression import COMPRESSIONS, Compress
from tests.support.crowd import EVERYTHING, Lives, add_guilds, check_told, join_last, wander_all
from tests.support.ledger import Ledger
from tests.support.output import TOKEN, check_output
from tests.support.process import CREDENTIALS, Child, start_child
from tests.support.relay_between import relay_between

GUILDS = 3
_EXEC = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"


@pytest.fixture
async def api() -> AsyncIterator[Ledger]:
    async with Ledger() as api:
        yield api


@pytest.fixture
def guilds(standin: StandIn) -> list[Guild]:
    return add_guilds(standin, GUILDS)


@asynccontextmanager
async def relaying(
    standin: StandIn, api: Ledger, directory: Path, *, credentials: Mapping[str, str] = CREDENTIALS
) -> AsyncIterator[Child]:
    """Run the relay with every event forwarded; it is to stop gracefully."""
    (directory / "rules.toml").write_text(EVERYTHING)
    async with relay_between(
        directory, standin, api, credentials=credentials, RULES_FILE="rules.toml"
    ) as relay:
        yield relay
        if relay.exit_code is None:
            relay.terminate()
            assert await relay.wait() == 0


# --- credentials


class Vault(Ledger):
    """Issues short-lived keys, as the container service does, and accepts requests that they signed.

    Every other key expires soon, as it says; the rest last until they are revoked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.issued_at: list[float] = []
        self.used: set[int] = set()
        self.revoked: set[int] = set()
        self.refused = 0

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET":
            return self._issue()
        number = len(self.issued_at) - 1
        key = request.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        if key != f"AKIDEXAMPLE{number}" or not self._holds(number):
            await request.read()
            self.refused += 1
            kind = "com.amazon.coral.service#ExpiredTokenException"
            message = "The security token included in the request is expired"
            return web.json_response({"__type": kind, "message": message}, status=403)
        assert request.headers["X-Amz-Security-Token"] == f"token-that-no-line-may-hold-{number}"
        self.used.add(number)
        return await super()._handle(request)

    def revoke_used(self) -> None:
        """Revoke the key if it is one that lasts and has been used."""
        number = len(self.issued_at) - 1
        if number % 2 and number in self.used:
            self.revoked.add(number)

    def _holds(self, number: int) -> bool:
        return number not in self.revoked if number % 2 else time.monotonic() - self.issued_at[number] < 1

    def _issue(self) -> web.Response:
        number = len(self.issued_at)
        self.issued_at.append(time.monotonic())
        # The relay renews a key when less than a minute is left: here, in half a second.
        ends = datetime.now(UTC) + timedelta(seconds=3600 if number % 2 else 60.5)
        return web.json_response(
            {
                "AccessKeyId": f"AKIDEXAMPLE{number}",
                "SecretAccessKey": f"secret-that-no-line-may-hold-{number}",
                "Token": f"token-that-no-line-may-hold-{number}",
                "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )


async def test_expiring_credentials_lose_nothing(standin: StandIn, tmp_path: Path) -> None:
    """They are renewed in time, or, if the API ends them early, as soon as it refuses them."""
    # Two lanes, so that two refusals do not pause the endpoint.
    guilds, dice = add_guilds(standin, 2), random.Random(6)
    async with Vault() as api:
        credentials = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{api.endpoint}/keys",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        async with relaying(standin, api, tmp_path, credentials=credentials) as relay:
            while len(api.used) < 4:
                await wander_all(guilds, 5, dice)
                await api.wait_until(lambda: api.event_count >= len(standin.sent))
                api.revoke_used()
            await join_last(guilds, api)
        check_output(relay, ["that-no-line-may-hold"])
        found = check_told(standin, api)
    assert (found.seen, found.gaps) == (len(standin.sent), 0)
    assert api.refused >= len(api.revoked) >= 1


# --- the gateway's compression


# Python runs it at its start. The relay itself needs zstandard.
_HIDE_ZSTD = """
import sys
hidden = dict.fromkeys(("zstandard", "compression"))
sys.modules.update(hidden)
import discord.utils
for name in hidden:
    del sys.modules[name]
"""


@pytest.mark.parametrize("kind", COMPRESSIONS)
async def test_cut_frame_loses_nothing(
    standin: StandIn,
    guilds: list[Guild],
    api: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """With either compression; discord.py asks for zlib where it does not find zstandard."""
    dice, opened = random.Random(9), 0
    open_context: Callable[[], Compress] = COMPRESSIONS[kind]

    def count() -> Compress:
        nonlocal opened
        opened += 1
        return open_context()

    monkeypatch.setitem(COMPRESSIONS, kind, count)
    credentials = dict(CREDENTIALS)
    if kind == "zlib-stream":
        (tmp_path / "without").mkdir()
        (tmp_path / "without" / "sitecustomize.py").write_text(_HIDE_ZSTD)
        credentials["PYTHONPATH"] = str(tmp_path / "without")
    async with relaying(standin, api, tmp_path, credentials=credentials):
        for cut in range(4):
            await wander_all(guilds, 20, dice)
            await standin.faults.cut_frame()
            await wander_all(guilds, 20, dice)
            await standin.wait_until(lambda cut=cut: standin.counts.get("resumed", 0) > cut, 20)  # type: ignore[misc]
        await join_last(guilds, api)
    found = check_told(standin, api)
    assert opened == 5
    assert standin.counts["identified"] == 1
    assert (found.seen, found.gaps) == (len(standin.sent), 0)


# --- disks


async def _fail_and_recover(
    standin: StandIn, guilds: list[Guild], api: Ledger, relay: Child, mend: Callable[[], None]
) -> None:
    """Walk until the disk takes no more, and on; once it is mended, everything is delivered."""
    dice = random.Random(12)
    api.down = True
    while not relay.log("outbox_commit_failed"):
        relay.check_alive()
        await wander_all(guilds, 50, dice)
        assert len(standin.sent) < 20_000
    await wander_all(guilds, 50, dice)
    relay.check_alive()
    (listening,) = relay.log("ops_listening")
    url = f"http://{listening['host']}:{listening['port']}/readyz"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 503
        assert "cannot be written" in await response.text()
    mend()
    await relay.wait_for_log("outbox_commit_recovered")
    api.down = False
    await wander_all(guilds, 50, dice)
    await join_last(guilds, api)


async def part(standin: StandIn, *, lives_on: bool) -> None:
    """Let the session end with the process, or not."""
    await standin.wait_disconnected(10)
    if not lives_on:
        await standin.faults.expire_sessions()


def _limit_files(relay: Child, limit_bytes: int) -> None:
    resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))


def _size(directory: Path) -> int:
    return max(path.stat().st_size for path in directory.iterdir())


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit another process's files")
async def test_file_limit_loses_nothing(
    standin: StandIn, guilds: list[Guild], api: Ledger, tmp_path: Path
) -> None:
    async with relaying(standin, api, tmp_path) as relay:
        await join_last(guilds, api)
        _limit_files(relay, _size(tmp_path / "data") + 100_000)
        await _fail_and_recover(
            standin, guilds, api, relay, lambda: _limit_files(relay, resource.RLIM_INFINITY)
        )
        # Logged once, and not at every attempt.
        assert len(relay.log("outbox_commit_failed")) == 1
    found = check_told(standin, api)
    assert (found.seen, found.gaps) == (len(standin.sent), 0)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit another process's files")
@pytest.mark.parametrize("lives_on", [False, True])
async def test_kill_under_file_limit_is_gap(
    standin: StandIn, guilds: list[Guild], api: Ledger, tmp_path: Path, lives_on: bool
) -> None:
    """What memory held is gone, but while the session lives, Discord replays it.

    Otherwise what is on disk is delivered, and of the rest the net difference.
    """
    dice, lives = random.Random(13), Lives()
    async with lives.another(), relaying(standin, api, tmp_path):
        await join_last(guilds, api)
    await part(standin, lives_on=lives_on)
    async with lives.another(), relaying(standin, api, tmp_path) as relay:
        await join_last(guilds, api)
        _limit_files(relay, _size(tmp_path / "data") + 100_000)
        api.down = True
        while not relay.log("outbox_commit_failed"):
            await wander_all(guilds, 50, dice)
        await wander_all(guilds, 50, dice)
        relay.kill()
        assert await relay.wait() == -9
    api.down = False
    await part(standin, lives_on=lives_on)
    async with lives.another(), relaying(standin, api, tmp_path):
        await join_last(guilds, api)
    found = check_told(standin, api, lives)
    if lives_on:
        assert (found.seen, found.gaps) == (len(standin.sent), 0)
    else:
        assert (found.gaps, found.reasons) == (2 * GUILDS, {"restart"})
        assert found.missed >= 50


@asynccontextmanager
async def relaying_on(mount: str, standin: StandIn, api: Ledger, directory: Path) -> AsyncIterator[Child]:
    """Run the relay after *mount*, a shell script, has mounted something over ``$data``.

    That happens in a mount namespace of its own, which needs no privilege where user namespaces are allowed.
    """
    data = directory / "data"
    data.mkdir(exist_ok=True)
    (directory / "rules.toml").write_text(EVERYTHING)
    settings = {
        "DISCORD_TOKEN": TOKEN,
        "DISCORD_API_URL": standin.api_url,
        "API_ENDPOINT": api.endpoint,
        "DATA_DIR": str(data),
        "RULES_FILE": "rules.toml",
        "OPS_PORT": "0",
        "LOG_FORMAT": "json",
    }
    environment = {f"VOICE_RELAY_{name}": value for name, value in settings.items()}
    command = ["unshare", "-Urm", "sh", "-ec", f'{mount}; exec "$python" -m bot.cli run']
    environment |= {**CREDENTIALS, "data": str(data), "python": sys.executable}
    async with start_child(["-c", _EXEC, *command], directory, environment) as relay:
        yield relay
    check_output(relay)


@pytest.fixture
async def _may_mount(tmp_path: Path) -> None:
    command = ["unshare", "-Urm", "sh", "-ec", f"mount -t tmpfs none {tmp_path}"]
    async with start_child(["-c", _EXEC, *command], tmp_path, {}) as child:
        if await child.wait() != 0:
            pytest.skip("this user may not mount anything, even in a namespace")


@pytest.mark.usefixtures("_may_mount")
async def test_full_disk_loses_nothing(
    standin: StandIn, guilds: list[Guild], api: Ledger, tmp_path: Path
) -> None:
    mount = 'mount -t tmpfs -o size=64m none "$data"; head -c 65000000 /dev/zero > "$data/filler"'
    async with relaying_on(mount, standin, api, tmp_path) as relay:
        await standin.wait_connected(20)
        await join_last(guilds, api)
        # The file as the relay sees it, from outside its mount namespace.
        filler = Path(f"/proc/{relay.pid}/root{tmp_path}/data/filler")
        await _fail_and_recover(standin, guilds, api, relay, filler.unlink)
        relay.terminate()
        assert await relay.wait() == 0
    found = check_told(standin, api)
    assert (found.seen, found.gaps) == (len(standin.sent), 0)


@pytest.mark.usefixtures("_may_mount")
@pytest.mark.parametrize("lives_on", [False, True])
async def test_read_only_disk_is_left_alone(
    standin: StandIn, guilds: list[Guild], api: Ledger, tmp_path: Path, lives_on: bool
) -> None:
    """The relay does not start on it; once it is writable, what happened meanwhile is declared."""
    dice, lives = random.Random(14), Lives()
    async with lives.another(), relaying(standin, api, tmp_path):
        await join_last(guilds, api)
        api.down = True
        await wander_all(guilds, 20, dice)
    before = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    mount = 'mount --bind "$data" "$data"; mount -o remount,bind,ro "$data"'
    async with relaying_on(mount, standin, api, tmp_path) as relay:
        assert await relay.wait() == 3
    assert "VOICE_RELAY_DATA_DIR" in relay.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before
    api.down = False
    await part(standin, lives_on=lives_on)
    await wander_all(guilds, 20, dice)
    async with lives.another(), relaying(standin, api, tmp_path):
        await join_last(guilds, api)
    found = check_told(standin, api, lives)
    if lives_on:
        assert (found.seen, found.gaps) == (len(standin.sent), 0)
    else:
        assert (found.gaps, found.reasons) == (GUILDS, {"restart"})

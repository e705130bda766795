"""The bot of the demo: the real ``voice-relay run``, as a child process that cannot outlive the demo."""

import asyncio
import os
import shutil
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bot.errors import StartupError
from infra.local.leash import AGAIN, KILL, leashed
from infra.local.machine import SingleMachine

_RULES = Path(__file__).parent / "rules.toml"
_SHUTDOWN_GRACE_S = 5.0
# The leash waits longer than the bot does, and the demo longer than the leash.
_LEASH_GRACE_S = _SHUTDOWN_GRACE_S + 2
_STOP_TIMEOUT_S = _LEASH_GRACE_S + 3
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR")


def build_environment(
    machine: SingleMachine, *, token: str, discord_api_url: str, api_endpoint: str
) -> dict[str, str]:
    """Return the bot's whole environment, free of the user's own settings, credentials and profiles."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | {
        "AWS_ACCESS_KEY_ID": machine.credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": machine.credentials.secret_access_key,
        "VOICE_RELAY_AWS_REGION": machine.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "VOICE_RELAY_API_ENDPOINT": api_endpoint,
        "VOICE_RELAY_DISCORD_TOKEN": token,
        "VOICE_RELAY_DISCORD_API_URL": discord_api_url,
        "VOICE_RELAY_RULES_FILE": str(_RULES),
        "VOICE_RELAY_ACTIONS": "find_person,send,edit,move,disconnect",
        "VOICE_RELAY_ACTIVITY_ARN": machine.outputs["ActionsActivityArn"],
        # The bot takes its tasks from Step Functions itself, not through the API.
        "AWS_ENDPOINT_URL_SFN": machine.aws.endpoint_url,
        # The leash runs the bot in an empty directory: no .env, no secrets, and an outbox that outlives a
        # killed bot.
        "VOICE_RELAY_SECRETS_DIR": ".",
        "VOICE_RELAY_DATA_DIR": "data",
        "VOICE_RELAY_OPS_PORT": "",
        # The demo loses answers on purpose, and means those to batches.
        "VOICE_RELAY_HEARTBEAT_S": "0",
        "VOICE_RELAY_LOG_FORMAT": "json",
        "VOICE_RELAY_SHUTDOWN_GRACE_S": str(_SHUTDOWN_GRACE_S),
    }


def _find_command() -> str:
    command = shutil.which("voice-relay", path=sysconfig.get_path("scripts"))
    if command is None:
        raise StartupError("the command voice-relay is not installed beside this Python")
    return command


def name_command() -> str:
    """Return what to type for ``voice-relay``: its name, or its path where the name alone is not found."""
    if shutil.which("voice-relay"):
        return "voice-relay"
    command = _find_command()
    path = os.path.relpath(command)
    return command if path.startswith(os.pardir) else path


class RelayProcess:
    """``voice-relay run``, made by ``running_relay``; ``log`` is all that it wrote, once it has ended.

    *process* is the leash that it is on.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.log = ""

    async def watch(self) -> None:
        """Never return; raise StartupError if the bot ends by itself."""
        code = await self._process.wait()
        raise StartupError(f"voice-relay run ended by itself, with exit code {code}")

    def kill(self) -> None:
        """End the bot as ``kill -9`` does."""
        self._order(KILL)

    def start_again(self) -> None:
        """Start a new bot after ``kill``, on the data of the one before."""
        self._order(AGAIN)

    def _order(self, order: bytes) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the bot is on no leash")
        self._process.stdin.write(order)

    async def stop(self) -> int:
        """Stop it as an operator would, and return its exit code; its outbox goes with it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                return await self._process.wait()
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()


@asynccontextmanager
async def running_relay(environment: Mapping[str, str]) -> AsyncIterator[RelayProcess]:
    """Start the bot, and stop it at the end of the block."""
    command = _find_command()
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *leashed([command, "run"], grace_s=_LEASH_GRACE_S),
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            # Ctrl-C is the demo's to answer.
            start_new_session=True,
        )
        relay = RelayProcess(process)
        try:
            yield relay
        finally:
            await relay.stop()
            log.seek(0)
            relay.log = log.read().decode(errors="replace")

"""Checks the image from inside: ``.ci/image`` runs this as the container's only command.

The relay runs as in production, against a stand-in for Discord that this program starts and the embedded AWS
of single-machine mode. Both are on loopback, so the container needs no network.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp

from infra.local.discord import StandIn

TOKEN = "no-bots-token-at-all-0123456789"
START_S = 60.0
STOP_S = 30.0
READY = "http://127.0.0.1:8080/readyz"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def check_confined() -> None:
    """The user is not root, has no capabilities, and can write to /data and /tmp only, but works in /."""
    assert Path.cwd() == Path("/")
    assert (os.getuid(), os.getgid()) == (10001, 10001)
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    for directory in ("/", "/opt/venv", "/etc", "/usr/bin", "/var/tmp"):
        # A read-only file system refuses every user, whoever owns the directory.
        assert os.statvfs(directory).f_flag & os.ST_RDONLY, directory
    for directory in ("/data", "/tmp"):
        (Path(directory) / "written").write_text("")
    say("confined: user 10001, no capabilities, read-only root")


def check_complete() -> None:
    """``voice-relay deploy`` works from here: the templates and the workflows are in the image."""
    import infra
    import workflow

    templates = {path.name for path in Path(str(infra.__file__)).parent.glob("*.yaml")}
    workflows = {path.name for path in Path(str(workflow.__file__)).parent.glob("*.asl.json")}
    assert {"relay.yaml", "monitoring.yaml", "service.yaml", "github-oidc.yaml"} <= templates, templates
    assert {"notify.asl.json", "status.asl.json"} <= workflows, workflows
    say(f"complete: {', '.join(sorted(templates | workflows))}")


async def check_relay() -> None:
    """The relay gets ready, posts a message for a join, is healthy, and stops cleanly."""
    async with StandIn(token=TOKEN) as discord:
        guild = discord.world.add_guild("Base")
        channel, member = guild.add_voice_channel("General"), guild.add_member("nelly")
        relay = await asyncio.create_subprocess_exec(
            "voice-relay",
            "run",
            env=os.environ
            | {
                "VOICE_RELAY_DISCORD_TOKEN": TOKEN,
                "VOICE_RELAY_DISCORD_API_URL": discord.api_url,
                "VOICE_RELAY_WEBHOOK_URL": discord.add_webhook("voice").url,
                "VOICE_RELAY_LOG_LEVEL": "warning",
            },
        )
        try:
            await wait_ready(relay)
            say("ready: single-machine mode, against the stand-in")
            await guild.join(member, channel)
            await discord.wait_for_messages(bool, timeout_s=START_S)
            say("posted: one message for one join")
            healthcheck = await asyncio.create_subprocess_exec("python", "-m", "bot.healthcheck")
            assert await healthcheck.wait() == 0
            relay.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_S):
                assert await relay.wait() == 0
            say("stopped: exit code 0 on SIGTERM")
        finally:
            if relay.returncode is None:
                relay.kill()
                await relay.wait()


async def is_ready() -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(READY) as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def wait_ready(relay: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_S):
        while not await is_ready():
            assert relay.returncode is None, f"the relay ended with {relay.returncode}"
            await asyncio.sleep(0.1)


def main() -> None:
    check_confined()
    check_complete()
    asyncio.run(check_relay())


if __name__ == "__main__":
    main()

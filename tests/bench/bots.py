"""The bots to measure: each watches the stand-in and posts to the stub, in a process of its own."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from infra.local.discord import StandIn
from tests.support.ingress import StubIngress
from tests.support.process import CREDENTIALS, Child, start_child, start_relay

Start = Callable[[Path, StandIn, StubIngress], AbstractAsyncContextManager[Child]]

# Unlike the built-in rules, these forward every transition, also changes of mute and the like.
_RULES = '[[rule]]\nworkflow = "notify"\ndestination = "default"\n'


def start_voice_relay(
    directory: Path, discord: StandIn, ingress: StubIngress, **settings: str
) -> AbstractAsyncContextManager[Child]:
    """Start the relay with its default settings, apart from the rules, the heartbeat and *settings*."""
    rules = directory / "rules.toml"
    rules.write_text(_RULES)
    return start_relay(
        directory,
        discord_api_url=discord.api_url,
        token=discord.token,
        api_endpoint=ingress.endpoint,
        settings={"RULES_FILE": str(rules), **settings},
    )


def start_relaxed(
    directory: Path, discord: StandIn, ingress: StubIngress
) -> AbstractAsyncContextManager[Child]:
    """Start the relay with commits that are not flushed: a power cut may lose the last few."""
    return start_voice_relay(directory, discord, ingress, OUTBOX_SYNCHRONOUS="normal")


def start_plain(
    directory: Path, discord: StandIn, ingress: StubIngress
) -> AbstractAsyncContextManager[Child]:
    """Start the plain bot."""
    root = str(Path(__file__).parents[2])
    environment = {
        "VOICE_RELAY_DISCORD_TOKEN": discord.token,
        "VOICE_RELAY_DISCORD_API_URL": discord.api_url,
        "VOICE_RELAY_API_ENDPOINT": ingress.endpoint,
        "PYTHONPATH": root,
        **CREDENTIALS,
    }
    return start_child(["-m", "tests.bench.plain"], directory, environment)


BOTS: dict[str, Start] = {"relay": start_voice_relay, "relaxed": start_relaxed, "plain": start_plain}

"""The bots to measure: each watches the stand-in and posts to the stub, in a process of its own."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from infra.local.discord import StandIn
from tests.support.ingress import StubIngress
from tests.support.process import CREDENTIALS, Child, start_child, start_relay

Start = Callable[[Path, StandIn, StubIngress], AbstractAsyncContextManager[Child]]

# Unlike the built-in rules, these forward every transition, also changes of mute and the like.
_RULES = '[[rule]]\nworkflow = "{workflow}"\ndestination = "default"\n'
UNFOLLOWED = "archive"
"""A workflow that does not post, so that the relay does not wait for the ends of its executions."""
FOLLOWED = "notify"


def start_voice_relay(
    directory: Path,
    discord: StandIn,
    ingress: StubIngress,
    *,
    workflow: str = UNFOLLOWED,
    checkout: Path | None = None,
    **settings: str,
) -> AbstractAsyncContextManager[Child]:
    """Start the relay, of this or of another *checkout*, and send everything to *workflow*.

    Apart from the rules, the heartbeat and *settings* it has its default settings.
    """
    rules = directory / "rules.toml"
    rules.write_text(_RULES.format(workflow=workflow))
    return start_relay(
        directory,
        discord_api_url=discord.api_url,
        token=discord.token,
        api_endpoint=ingress.endpoint,
        settings={"RULES_FILE": str(rules), **settings},
        checkout=checkout,
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


BEFORE = "before"


def choose_bots(before: Path | None = None, workflow: str = UNFOLLOWED) -> dict[str, Start]:
    """Return the bots to measure, with the relay of the checkout *before* where one is given."""
    bots: dict[str, Start] = {
        "relay": partial(start_voice_relay, workflow=workflow),
        "relaxed": start_relaxed,
        "plain": start_plain,
    }
    if before is not None:
        bots[BEFORE] = partial(start_voice_relay, workflow=workflow, checkout=before)
    return bots


BOTS = choose_bots()

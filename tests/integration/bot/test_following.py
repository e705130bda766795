"""How a running relay asks after the executions that it follows."""

from pathlib import Path

from infra.local.discord import StandIn
from tests.support.crowd import add_guilds, join_one
from tests.support.ledger import Ledger
from tests.support.relaying import relaying


async def test_polls_ask_for_no_input(tmp_path: Path) -> None:
    """The relay knows what it sent: 200 KiB of it in every answer would be most of what polling reads."""
    async with StandIn() as standin, Ledger() as api:
        (guild,) = add_guilds(standin, 1)
        async with relaying(tmp_path, standin, api.endpoint):
            await join_one(guild)
            await api.wait_until(lambda: api.polls > 0)
    assert api.inputs_sent == 0

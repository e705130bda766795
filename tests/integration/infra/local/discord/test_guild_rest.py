"""Members over REST: what takes effect, what the gateway tells of it, and every refusal."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from infra.local.discord import AuditEntry, Guild, Overwrite, Permission, RateLimit, StandIn
from tests.integration.infra.local.discord.asking import Asking
from tests.integration.infra.local.discord.conftest import Connect

MODIFY = "PATCH /guilds/{guild}/members/{user}"


@pytest.fixture
async def ask(standin: StandIn) -> AsyncIterator[Asking]:
    async with Asking(standin.api_url, standin.token) as ask:
        yield ask


def member_path(guild: Guild, user_id: str) -> str:
    return f"/guilds/{guild.id}/members/{user_id}"


async def test_move_reaches_the_gateway(
    standin: StandIn, guild: Guild, ask: Asking, connect: Connect
) -> None:
    waiting, lounge = guild.add_voice_channel("Waiting"), guild.add_voice_channel("Lounge")
    nelly = guild.add_member("nelly")
    async with connect(standin) as client:
        await guild.join(nelly, waiting)
        body = {"channel_id": lounge.id, "mute": True}
        answer = await ask("PATCH", member_path(guild, nelly.id), body, reason="admitted by Tom ☕")
        states = await client.wait_seen("VOICE_STATE_UPDATE", 2)
    assert (answer.status, answer.body["user"]["id"], answer.body["mute"]) == (200, nelly.id, True)
    assert (states[-1]["channel_id"], states[-1]["mute"]) == (lounge.id, True)
    assert guild.people_in(lounge) == [nelly]
    assert guild.audit_log == [
        AuditEntry("member_update", nelly.id, "admitted by Tom ☕", {"mute": True}),
        AuditEntry("member_move", None, "admitted by Tom ☕", {"channel_id": lounge.id}),
    ]


async def test_disconnects_and_deafens(guild: Guild, ask: Asking, standin: StandIn) -> None:
    lounge, nelly = guild.add_voice_channel("Lounge"), guild.add_member("nelly")
    await guild.join(nelly, lounge)
    for body in ({"deaf": True}, {"deaf": True}, {"channel_id": None}):
        assert (await ask("PATCH", member_path(guild, nelly.id), body)).status == 200
    # What changes nothing is not told.
    assert [each.kind for each in standin.sent] == ["joined", "updated", "left"]
    assert [entry.action for entry in guild.audit_log] == ["member_update", "member_disconnect"]
    assert [call.body for call in standin.door.calls][-1] == {"channel_id": None}


@pytest.mark.parametrize("body", [{"channel_id": None}, {"mute": True}, {"deaf": False}])
async def test_refuses_someone_not_in_voice(guild: Guild, ask: Asking, body: dict[str, Any]) -> None:
    nelly = guild.add_member("nelly")
    assert (await ask("PATCH", member_path(guild, nelly.id), body)).code == (400, 40032)


async def test_refuses_what_is_unknown(standin: StandIn, guild: Guild, ask: Asking) -> None:
    lounge, nelly = guild.add_voice_channel("Lounge"), guild.add_member("nelly")
    category = guild.add_category("Rooms")
    stranger = standin.world.add_guild("Other").add_member("tom")
    hidden = standin.world.add_guild("Hidden", has_bot=False)
    await guild.join(nelly, lounge)

    async def move(guild_id: str, user_id: str, channel_id: object) -> tuple[int, int]:
        path = f"/guilds/{guild_id}/members/{user_id}"
        return (await ask("PATCH", path, {"channel_id": channel_id})).code

    assert await move("1", nelly.id, lounge.id) == (404, 10004)
    assert await move(hidden.id, nelly.id, lounge.id) == (403, 50001)
    assert await move(guild.id, stranger.id, lounge.id) == (404, 10007)
    assert await move(guild.id, "1", lounge.id) == (404, 10013)
    assert await move(guild.id, nelly.id, "1") == (404, 10003)
    assert await move(guild.id, nelly.id, category.id) == (400, 50024)
    assert await move(guild.id, nelly.id, 5) == (400, 50035)
    assert (await ask("PATCH", member_path(guild, nelly.id), {"mute": 1})).code == (400, 50035)
    assert guild.people_in(lounge) == [nelly]


async def test_move_needs_permissions(standin: StandIn, guild: Guild, ask: Asking) -> None:
    lounge, staff = guild.add_voice_channel("Lounge"), guild.add_voice_channel("Staff")
    nelly = guild.add_member("nelly")
    await guild.join(nelly, lounge)
    path, body = member_path(guild, nelly.id), {"channel_id": staff.id}
    staff.overwrites[guild.id] = Overwrite(deny=Permission.CONNECT)
    staff.overwrites[guild.bot_role.id] = Overwrite(deny=Permission.CONNECT)
    assert (await ask("PATCH", path, body)).code == (403, 50013)
    staff.overwrites[guild.bot_role.id] = Overwrite(deny=Permission.VIEW_CHANNEL)
    assert (await ask("PATCH", path, body)).code == (403, 50001)
    # Only the bot needs access, not the one who is moved.
    staff.overwrites[guild.bot_role.id] = Overwrite(allow=Permission.CONNECT)
    assert (await ask("PATCH", path, body)).status == 200
    guild.deny_bot(Permission.MOVE_MEMBERS)
    assert (await ask("PATCH", path, {"channel_id": None})).code == (403, 50013)
    guild.deny_bot(Permission.MUTE_MEMBERS | Permission.DEAFEN_MEMBERS)
    assert (await ask("PATCH", path, {"mute": True})).code == (403, 50013)
    assert (await ask("PATCH", path, {"deaf": True})).code == (403, 50013)
    assert guild.people_in(staff) == [nelly]


async def test_roles_obey_the_hierarchy(guild: Guild, ask: Asking) -> None:
    nelly = guild.add_member("nelly")
    guest, owner = guild.add_role("Guest"), guild.add_role("Owner", above_bot=True)

    async def change(method: str, role_id: str) -> Any:
        answer = await ask(method, f"{member_path(guild, nelly.id)}/roles/{role_id}", reason="x")
        return answer.status if answer.body is None else answer.code

    assert [await change("PUT", guest.id) for _ in range(2)] == [204, 204]
    assert list(nelly.role_ids) == [guest.id]
    assert await change("PUT", owner.id) == (403, 50013)
    assert await change("PUT", guild.bot_role.id) == (403, 50013)
    assert await change("PUT", guild.id) == (400, 50028)
    assert await change("PUT", "1") == (404, 10011)
    assert await change("DELETE", guest.id) == 204
    assert list(nelly.role_ids) == []
    guild.deny_bot(Permission.MANAGE_ROLES)
    assert await change("PUT", guest.id) == (403, 50013)
    entry = ("member_role_update", nelly.id, "x")
    assert guild.audit_log == [(*entry, {"$add": guest.id}), (*entry, {"$remove": guest.id})]


async def test_voice_state_says_where_someone_is(guild: Guild, ask: Asking) -> None:
    lounge, nelly = guild.add_voice_channel("Lounge"), guild.add_member("nelly")
    path = f"/guilds/{guild.id}/voice-states/{nelly.id}"
    assert (await ask("GET", path)).code == (404, 10065)
    await guild.join(nelly, lounge)
    assert (await ask("GET", path)).body["channel_id"] == lounge.id
    assert (await ask("GET", member_path(guild, nelly.id))).body["user"]["username"] == "nelly"


async def test_limits_each_guild(standin: StandIn, guild: Guild, ask: Asking) -> None:
    other = standin.world.add_guild("Other")
    standin.door.limits[MODIFY] = RateLimit(1, 30.0)
    answers = [await ask("PATCH", member_path(each, "1"), {}) for each in (guild, other, guild)]
    assert [answer.status for answer in answers] == [404, 404, 429]
    limited = answers[-1]
    assert 29 < limited.body["retry_after"] <= 30
    assert (limited.headers["Retry-After"], limited.headers["X-RateLimit-Scope"]) == ("30", "user")
    assert limited.headers["X-RateLimit-Remaining"] == "0"
    assert answers[0].headers["X-RateLimit-Bucket"] != answers[1].headers["X-RateLimit-Bucket"]


async def test_limits_the_whole_bot(standin: StandIn, ask: Asking) -> None:
    answers = [await ask("GET", "/guilds/1/roles") for _ in range(52)]
    assert [answer for answer in answers if answer.status == 429 and answer.body["global"]]
    assert answers[0].code == (404, 10004)


async def test_refuses_wrong_token_and_reason(standin: StandIn, guild: Guild, ask: Asking) -> None:
    async with Asking(standin.api_url, "wrong") as stranger:
        assert (await stranger("PATCH", member_path(guild, "1"), {})).status == 401
    assert (await ask("PATCH", member_path(guild, "1"), {}, reason="☕" * 513)).code == (400, 50035)
    assert (await ask("PATCH", member_path(guild, "1"), {}, reason="☕" * 512)).code == (404, 10013)


async def test_faults_of_one_route(standin: StandIn, guild: Guild, ask: Asking) -> None:
    """A request can fail, lose its answer after it took effect, or wait."""
    lounge, nelly = guild.add_voice_channel("Lounge"), guild.add_member("nelly")
    await guild.join(nelly, lounge)
    path = member_path(guild, nelly.id)
    standin.faults.fail_route(MODIFY, status=503)
    assert (await ask("PATCH", path, {"mute": True})).status == 503
    assert nelly.lasting == 0
    standin.faults.fail_route(MODIFY, drop=True, done=True)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await ask("PATCH", path, {"mute": True})
    assert nelly.lasting != 0
    held = standin.faults.hold_route("/guilds/{guild}/roles")
    held.go_on.set()
    assert (await ask("GET", f"/guilds/{guild.id}/roles")).status == 200
    assert held.reached.is_set()
    assert standin.counts[MODIFY] == 2

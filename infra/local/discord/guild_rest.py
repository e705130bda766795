"""The REST routes of a guild: members, their roles, and where they are in voice."""

# https://docs.discord.com/developers/resources/guild#modify-guild-member
# https://docs.discord.com/developers/resources/voice#get-user-voice-state

from typing import Any

import orjson

from infra.local.discord.door import Call, Handle
from infra.local.discord.guild import Guild
from infra.local.discord.model import AuditEntry, Channel, Flag, Member
from infra.local.discord.payloads import Json, build_member, build_role, build_voice_state
from infra.local.discord.permissions import Permission
from infra.local.discord.refusal import Refused, refuse, refuse_form
from infra.local.discord.world import World

_WANTED = {
    "mute": Permission.MUTE_MEMBERS,
    "deaf": Permission.DEAFEN_MEMBERS,
    "channel_id": Permission.MOVE_MEMBERS,
}


class GuildRest:
    def __init__(self, world: World) -> None:
        self._world = world

    def build_handlers(self) -> dict[str, Handle]:
        member = "/guilds/{guild}/members/{user}"
        return {
            "/guilds/{guild}/roles": self._list_roles,
            member: lambda call: build_member(self._find_member(call)),
            "/guilds/{guild}/voice-states/{user}": self._get_voice_state,
            f"PATCH {member}": self._modify,
            f"PUT {member}/roles/{{role}}": lambda call: self._change_role(call, give=True),
            f"DELETE {member}/roles/{{role}}": lambda call: self._change_role(call, give=False),
        }

    def _find_guild(self, call: Call) -> Guild:
        guild = self._world.guilds.get(call.params["guild"])
        if guild is None:
            raise refuse(10004)
        if not guild.has_bot:
            raise refuse(50001)
        return guild

    def _find_member(self, call: Call) -> Member:
        user_id = call.params["user"]
        member = self._find_guild(call).members.get(user_id)
        if member is None:
            raise refuse(10007 if self._world.find_user(user_id) else 10013)
        return member

    def _list_roles(self, call: Call) -> list[Json]:
        return [build_role(role) for role in self._find_guild(call).roles.values()]

    def _get_voice_state(self, call: Call) -> Json:
        guild, user_id = self._find_guild(call), call.params["user"]
        state = guild.voice_states.get(user_id)
        if state is None:
            raise refuse(10065)
        built: Json = orjson.loads(build_voice_state(guild.id, guild.members[user_id], state, connected=True))
        return built

    async def _modify(self, call: Call) -> Json:
        """Move, disconnect, mute or deafen, all or nothing."""
        guild, member, body = self._find_guild(call), self._find_member(call), _check_body(call.body)
        permissions = guild.permissions_of(guild.members[self._world.bot.id])
        if any(permission not in permissions for name, permission in _WANTED.items() if name in body):
            raise refuse(50013)
        channel = self._find_target(guild, body.get("channel_id"))
        state = guild.voice_states.get(member.id)
        if state is None:
            if body:
                raise refuse(40032)
            return build_member(member)
        flags: dict[str, bool] = {name: body[name] for name in ("mute", "deaf") if name in body}
        changed = {name: on for name, on in flags.items() if bool(state.flags & Flag[name.upper()]) is not on}
        if changed:
            guild.audit_log.append(AuditEntry("member_update", member.id, call.reason, changed))
        if "channel_id" in body and channel is None:
            guild.audit_log.append(AuditEntry("member_disconnect", None, call.reason, {}))
            await guild.leave(member)
        elif channel is not None and channel is not state.channel:
            entry = AuditEntry("member_move", None, call.reason, {"channel_id": channel.id})
            guild.audit_log.append(entry)
            await guild.move(member, channel, without=(), **changed)
        elif changed:
            await guild.update(member, without=(), **changed)
        return build_member(member)

    def _find_target(self, guild: Guild, channel_id: str | None) -> Channel | None:
        """Return the channel to move to; the bot must see it and be able to connect, the person need not."""
        if channel_id is None:
            return None
        channel = guild.channels.get(channel_id)
        if channel is None:
            raise refuse(10003)
        if not channel.type.has_voice:
            raise refuse(50024)
        permissions = self._world.bot_permissions(channel)
        if Permission.VIEW_CHANNEL not in permissions:
            raise refuse(50001)
        if Permission.CONNECT | Permission.MOVE_MEMBERS not in permissions:
            raise refuse(50013)
        return channel

    def _change_role(self, call: Call, *, give: bool) -> None:
        guild, member, role_id = self._find_guild(call), self._find_member(call), call.params["role"]
        role = guild.roles.get(role_id)
        if role is None:
            raise refuse(10011)
        bot = guild.members[self._world.bot.id]
        highest = max(guild.roles[each].position for each in (guild.id, *bot.role_ids))
        if Permission.MANAGE_ROLES not in guild.permissions_of(bot) or role.position >= highest:
            raise refuse(50013)
        if role.managed or role.id == guild.id:
            raise refuse(50028)
        if (role_id in member.role_ids) is give:
            return
        kept = [each for each in member.role_ids if each != role_id]
        guild.set_roles(member, [*kept, role_id] if give else kept)
        changes = {"$add" if give else "$remove": role_id}
        guild.audit_log.append(AuditEntry("member_role_update", member.id, call.reason, changes))


def _check_body(body: Any) -> Json:
    """Return the fields of a Modify Guild Member that are known here; raises Refused."""
    if not isinstance(body, dict):
        raise Refused(400, {"message": "The request body contains invalid JSON.", "code": 50109})
    for name in ("mute", "deaf"):
        if name in body and not isinstance(body[name], bool):
            raise refuse_form(name, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
    channel_id = body.get("channel_id")
    if channel_id is not None and not (isinstance(channel_id, str) and channel_id.isdecimal()):
        raise refuse_form("channel_id", "NUMBER_TYPE_COERCE", f'Value "{channel_id}" is not snowflake.')
    unknown = body.keys() - _WANTED.keys()
    if unknown:
        raise NotImplementedError(f"the stand-in cannot change {', '.join(sorted(unknown))}")
    return body

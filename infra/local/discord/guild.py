"""One guild: its state and the operations on it.

An operation changes the guild and publishes the event in one step without awaiting, so frames have the order
of the calls. Only then does it wait for clients that lag behind.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

import orjson

from infra.local.discord.model import (
    LASTING_FLAGS,
    AuditEntry,
    Channel,
    ChannelType,
    Flag,
    Member,
    Obfuscation,
    Role,
    User,
    VoiceState,
    apply_flags,
    parse_flags,
)
from infra.local.discord.payloads import build_channel, build_guild, build_member, build_voice_state
from infra.local.discord.permissions import (
    ALL_PERMISSIONS,
    BOT,
    NO_PERMISSIONS,
    Overwrite,
    Permission,
    add_up,
)
from infra.local.discord.snowflakes import Snowflakes
from infra.local.discord.transitions import Kind, Reach, Transition

_NO_CHANGES: dict[str, bool] = {}
# (was in a channel before, is in one after)
_KINDS: dict[tuple[bool, bool], Kind] = {
    (False, True): "joined",
    (True, False): "left",
    (True, True): "moved",
}
_BOT_POSITION = 1000
_FLAG_NAMES = tuple((flag, (flag.name or "").lower()) for flag in Flag)


class Publisher(Protocol):
    """Where a guild's events go."""

    def publish(self, guild_id: str, event: str, data: bytes) -> Reach: ...

    async def wait_for_room(self) -> None: ...


class Guild:
    """Made by ``World.add_guild``. The ``add_`` methods only prepare state and publish nothing.

    Operations take effect even if no client is connected; the next snapshot contains what no session
    received. During an outage, and while the bot is not a member, nothing is published.
    """

    def __init__(
        self,
        name: str,
        *,
        snowflakes: Snowflakes,
        publisher: Publisher,
        record: Callable[[Transition], None],
        clock: Callable[[], float],
        bot: User,
    ) -> None:
        self.id = snowflakes.make("guild")
        self.name = name
        self.available = True
        self.has_bot = True
        self.channels: dict[str, Channel] = {}
        self.owner_id = snowflakes.make("owner")
        # The @everyone role has the guild's id; the bot's own stands above every role that is added later.
        self.bot_role = Role(snowflakes.make("bot role"), bot.name, BOT, _BOT_POSITION, managed=True)
        self.roles: dict[str, Role] = {self.id: Role(self.id, "@everyone"), self.bot_role.id: self.bot_role}
        self.members: dict[str, Member] = {bot.id: Member(bot, role_ids=(self.bot_role.id,))}
        self.audit_log: list[AuditEntry] = []
        self.voice_states: dict[str, VoiceState] = {}
        self._snowflakes = snowflakes
        self._publisher = publisher
        self._record = record
        self._clock = clock
        self._bot = bot
        self._visits = 0

    # --- setup

    def add_channel(self, name: str, type: ChannelType, parent: Channel | None = None) -> Channel:  # noqa: A002
        channel = Channel(
            id=self._snowflakes.make("channel"),
            name=name,
            type=type,
            position=len(self.channels),
            parent_id=parent.id if parent else None,
        )
        self.channels[channel.id] = channel
        return channel

    def add_voice_channel(self, name: str, parent: Channel | None = None) -> Channel:
        return self.add_channel(name, ChannelType.VOICE, parent)

    def add_stage_channel(self, name: str, parent: Channel | None = None) -> Channel:
        return self.add_channel(name, ChannelType.STAGE, parent)

    def add_text_channel(self, name: str, parent: Channel | None = None) -> Channel:
        return self.add_channel(name, ChannelType.TEXT, parent)

    def add_category(self, name: str) -> Channel:
        return self.add_channel(name, ChannelType.CATEGORY)

    def add_member(
        self,
        who: str | User,
        display_name: str | None = None,
        *,
        nick: str | None = None,
        bot: bool = False,
        roles: Collection[Role] = (),
    ) -> Member:
        """Add a new user by name, or a user of another guild, as a member."""
        if isinstance(who, str):
            who = User(self._snowflakes.make("user"), who, display_name, bot)
        member = Member(who, nick, tuple(role.id for role in roles))
        self.members[who.id] = member
        return member

    def add_role(
        self, name: str, permissions: Permission = NO_PERMISSIONS, *, above_bot: bool = False
    ) -> Role:
        position = len(self.roles) + (_BOT_POSITION if above_bot else 0)
        role = Role(self._snowflakes.make("role"), name, permissions, position)
        self.roles[role.id] = role
        return role

    # --- permissions

    def deny_bot(self, permissions: Permission) -> None:
        self.bot_role.permissions &= ~permissions

    def permissions_of(self, member: Member, channel: Channel | None = None) -> Permission:
        """Return what *member* may do in *channel*, or in the guild."""
        if member.id == self.owner_id:
            return ALL_PERMISSIONS
        overwrites = channel.overwrites if channel else {}
        if channel is not None and channel.obfuscated and member.id == self._bot.id:
            overwrites = {member.id: Overwrite(deny=Permission.VIEW_CHANNEL)}
        return add_up(
            everyone_id=self.id,
            role_ids=member.role_ids,
            user_id=member.id,
            granted={role.id: role.permissions for role in self.roles.values()},
            overwrites=overwrites,
        )

    def set_roles(self, member: Member, role_ids: Collection[str]) -> None:
        member.role_ids = tuple(role_ids)
        member.json.clear()
        self._publish("GUILD_MEMBER_UPDATE", orjson.dumps(build_member(member) | {"guild_id": self.id}))

    def people_in(self, channel: Channel) -> list[Member]:
        return [self.members[user] for user, state in self.voice_states.items() if state.channel is channel]

    def build_snapshot(self) -> bytes:
        """Return the data of a GUILD_CREATE with the guild's current state."""
        return build_guild(
            guild_id=self.id,
            name=self.name,
            owner_id=self.owner_id,
            roles=self.roles.values(),
            channels=self.channels.values(),
            members=[self.members[self._bot.id]]
            + [self.members[user] for user in self.voice_states if user != self._bot.id],
            member_count=len(self.members),
            voice_states=self._build_voice_states(),
        )

    def _build_voice_states(self) -> Iterator[bytes]:
        for user, state in self.voice_states.items():
            yield build_voice_state(self.id, self.members[user], state, connected=True)

    # --- voice

    async def join(
        self, member: Member, channel: Channel, *, without: Collection[str] = (), **flags: bool
    ) -> Transition:
        """Put *member*, who is in no channel of this guild, into *channel*.

        *without* names fields to leave out of the payload, here and in the operations below.
        """
        if member.id in self.voice_states:
            raise ValueError(f"{member.user.name} is already in a channel")
        self._visits += 1
        state = VoiceState(channel, f"{self._visits:032x}", member.lasting | parse_flags(flags)[1])
        transition = self._change(member, None, state, without)
        await self._publisher.wait_for_room()
        return transition

    async def leave(self, member: Member, *, without: Collection[str] = ()) -> Transition:
        transition = self._change(member, self._state_of(member), None, without)
        await self._publisher.wait_for_room()
        return transition

    async def move(
        self, member: Member, channel: Channel, *, without: Collection[str] = (), **flags: bool
    ) -> Transition:
        """Move *member* to another channel, optionally changing flags."""
        before = self._state_of(member)
        if before.channel is channel:
            raise ValueError(f"{member.user.name} is already in that channel")
        after = VoiceState(channel, before.session_id, apply_flags(before.flags, flags))
        transition = self._change(member, before, after, without)
        await self._publisher.wait_for_room()
        return transition

    async def update(
        self, member: Member, *, without: Collection[str] = (), **flags: bool
    ) -> Transition | None:
        """Set flags such as ``self_mute=True``.

        Without a change, the event is still sent, as Discord may do, but there is no transition and the
        result is ``None``.
        """
        before = self._state_of(member)
        after = VoiceState(before.channel, before.session_id, apply_flags(before.flags, flags))
        if after.flags == before.flags:
            self._publish_state(member, after, connected=True, without=without)
            transition = None
        else:
            transition = self._change(member, before, after, without)
        await self._publisher.wait_for_room()
        return transition

    def _state_of(self, member: Member) -> VoiceState:
        try:
            return self.voice_states[member.id]
        except KeyError:
            raise ValueError(f"{member.user.name} is in no channel of {self.name}") from None

    def _change(
        self, member: Member, before: VoiceState | None, after: VoiceState | None, without: Collection[str]
    ) -> Transition:
        shown = after or before
        assert shown is not None  # noqa: S101  # one of the two is always given
        changes = _NO_CHANGES
        if after is None:
            del self.voice_states[member.id]
        else:
            self.voice_states[member.id] = after
            member.lasting = after.flags & LASTING_FLAGS
            if before is not None and before.flags != after.flags:
                turned = before.flags ^ after.flags
                changes = {name: bool(after.flags & flag) for flag, name in _FLAG_NAMES if turned & flag}
        same_channel = before is not None and after is not None and before.channel is after.channel
        reach = self._publish_state(member, shown, connected=after is not None, without=without)
        transition = Transition(
            kind="updated" if same_channel else _KINDS[before is not None, after is not None],
            guild_id=self.id,
            user_id=member.user.id,
            channel_id=after.channel.id if after else None,
            previous_channel_id=before.channel.id if before and not same_channel else None,
            changes=changes,
            reach=reach,
            at=self._clock(),
            flags=shown.flags,
        )
        self._record(transition)
        return transition

    def _publish_state(
        self, member: Member, state: VoiceState, *, connected: bool, without: Collection[str]
    ) -> Reach:
        data = build_voice_state(self.id, member, state, connected=connected)
        if without:
            data = orjson.dumps(
                {key: value for key, value in orjson.loads(data).items() if key not in without}
            )
        return self._publish("VOICE_STATE_UPDATE", data)

    def _publish(self, event: str, data: bytes) -> Reach:
        if not (self.available and self.has_bot):
            return "unseen"
        return self._publisher.publish(self.id, event, data)

    # --- channels

    async def create_channel(self, name: str, type: ChannelType, parent: Channel | None = None) -> Channel:  # noqa: A002
        channel = self.add_channel(name, type, parent)
        await self._publish_channel("CHANNEL_CREATE", channel)
        return channel

    async def rename_channel(self, channel: Channel, name: str) -> None:
        channel.name = name
        await self._publish_channel("CHANNEL_UPDATE", channel)

    async def hide_channel(self, channel: Channel, fields: Obfuscation = "null") -> None:
        """Remove the bot's permission to view *channel*; its fields become null or absent."""
        channel.obfuscated = fields
        await self._publish_channel("CHANNEL_UPDATE", channel)

    async def show_channel(self, channel: Channel) -> None:
        channel.obfuscated = None
        await self._publish_channel("CHANNEL_UPDATE", channel)

    async def delete_channel(self, channel: Channel) -> None:
        """Delete *channel*; its members leave afterwards, which is the harder order for a cache."""
        people = self.people_in(channel)
        del self.channels[channel.id]
        await self._publish_channel("CHANNEL_DELETE", channel)
        for member in people:
            await self.leave(member)

    async def _publish_channel(self, event: str, channel: Channel) -> None:
        self._publish(event, orjson.dumps(build_channel(channel, self.id)))
        await self._publisher.wait_for_room()

    # --- the guild

    async def begin_outage(self) -> None:
        self._publish("GUILD_DELETE", orjson.dumps({"id": self.id, "unavailable": True}))
        self.available = False
        await self._publisher.wait_for_room()

    async def end_outage(self) -> None:
        self.available = True
        self._publish("GUILD_CREATE", self.build_snapshot())
        await self._publisher.wait_for_room()

    async def remove_bot(self) -> None:
        """Remove the bot from the guild, which continues without it."""
        self._publish("GUILD_DELETE", orjson.dumps({"id": self.id}))
        self.has_bot = False
        await self._publisher.wait_for_room()

    async def add_bot(self) -> None:
        self.has_bot = True
        self._publish("GUILD_CREATE", self.build_snapshot())
        await self._publisher.wait_for_room()

    async def dispatch(self, event: str, data: dict[str, Any]) -> Reach:
        """Send an arbitrary event to the sessions of this guild, without changing the guild."""
        reach = self._publisher.publish(self.id, event, orjson.dumps(data))
        await self._publisher.wait_for_room()
        return reach

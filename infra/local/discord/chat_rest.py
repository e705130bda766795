"""The REST routes of messages: send, edit, delete and read, in channels and privately."""

# https://docs.discord.com/developers/resources/message

from infra.local.discord.chat import Chat, Json, Message, build_message
from infra.local.discord.door import Call, Handle, build_throttled
from infra.local.discord.message_validation import check_bot_message, check_visible
from infra.local.discord.model import Channel, ChannelType
from infra.local.discord.payloads import build_channel, build_user
from infra.local.discord.permissions import Permission
from infra.local.discord.refusal import refuse, refuse_form
from infra.local.discord.world import World

_OLD_S = 3600.0
# https://github.com/discord/discord-api-docs/issues/4413
_TOO_MANY_OLD_EDITS = 30046
_OLD_EDIT_WAIT_S = 60.0
_DM = 1


class ChatRest:
    def __init__(self, world: World, chat: Chat) -> None:
        self._world = world
        self._chat = chat

    def build_handlers(self) -> dict[str, Handle]:
        one = "/channels/{channel}/messages/{message}"
        return {
            "/channels/{channel}": self._get_channel,
            "/channels/{channel}/messages": self._list,
            "POST /channels/{channel}/messages": self._create,
            one: lambda call: build_message(self._find_message(call)),
            f"PATCH {one}": self._edit,
            f"DELETE {one}": self._delete,
            "POST /users/@me/channels": self._open_private,
        }

    def _get_channel(self, call: Call) -> Json:
        channel = self._find_channel(call)
        if isinstance(channel, str):
            return self._build_private(channel)
        return build_channel(channel, self._world.guild_of(channel) or "")

    def _list(self, call: Call) -> list[Json]:
        """Answer with the newest first; without the permission to read the history, with nothing."""
        channel = self._find_channel(call)
        if not self._may(channel, Permission.READ_MESSAGE_HISTORY):
            return []
        return [build_message(message) for message in reversed(self._chat.messages(channel))][:50]

    def _create(self, call: Call) -> Json:
        channel = self._find_channel(call)
        self._check_may_send(channel, call.body)
        body = check_bot_message(call.body)
        if body.get("enforce_nonce") and body.get("nonce") is not None:
            repeated = self._chat.find_repeated(self._world.bot, body["nonce"])
            if repeated is not None:
                return build_message(repeated)
        message = self._chat.say(self._world.bot, channel, body)
        message.may_ping_roles = self._may(channel, Permission.MENTION_EVERYONE)
        return build_message(message)

    def _check_may_send(self, channel: Channel | str, body: object) -> None:
        if isinstance(channel, str):
            user = self._world.find_user(self._chat.private_channels[channel])
            if user is None or user.bot or not user.accepts_dms:
                raise refuse(50007)
            return
        if channel.type is ChannelType.CATEGORY:
            raise refuse(50008)
        wanted = Permission.SEND_MESSAGES
        if isinstance(body, dict) and body.get("embeds"):
            wanted |= Permission.EMBED_LINKS
        if channel.type.has_voice:
            wanted |= Permission.CONNECT
        if not self._may(channel, wanted):
            raise refuse(50013)

    def _edit(self, call: Call) -> Json:
        message = self._find_message(call)
        if message.author is not self._world.bot:
            raise refuse(50005)
        changes = check_bot_message(call.body, partial=True)
        check_visible(message.body | changes)
        if call.at - message.at > _OLD_S:
            if self._chat.old_edits <= 0:
                raise build_throttled(_OLD_EDIT_WAIT_S, "user", _TOO_MANY_OLD_EDITS)
            self._chat.old_edits -= 1
        self._chat.edit(message, changes)
        return build_message(message)

    def _delete(self, call: Call) -> None:
        message = self._find_message(call)
        own = message.author is self._world.bot
        if not own and not self._may(self._find_channel(call), Permission.MANAGE_MESSAGES):
            raise refuse(50013)
        self._chat.delete(message)

    def _open_private(self, call: Call) -> Json:
        recipient = call.body.get("recipient_id") if isinstance(call.body, dict) else None
        if not (isinstance(recipient, str) and recipient.isdecimal()):
            raise refuse_form("recipient_id", "NUMBER_TYPE_COERCE", f'Value "{recipient}" is not snowflake.')
        user = self._world.find_user(recipient)
        if user is None or user is self._world.bot:
            raise refuse(50033)
        return self._build_private(self._chat.open_private(user))

    def _build_private(self, channel_id: str) -> Json:
        user = self._world.find_user(self._chat.private_channels[channel_id])
        recipients = [build_user(user)] if user else []
        return {"id": channel_id, "type": _DM, "last_message_id": None, "flags": 0, "recipients": recipients}

    def _find_channel(self, call: Call) -> Channel | str:
        """Return the channel that the bot sees, a private one as its id."""
        channel_id = call.params["channel"]
        if channel_id in self._chat.private_channels:
            return channel_id
        channel = self._world.find_channel(channel_id)
        if channel is None:
            raise refuse(10003)
        if not self._may(channel, Permission.VIEW_CHANNEL):
            raise refuse(50001)
        return channel

    def _find_message(self, call: Call) -> Message:
        channel = self._find_channel(call)
        message = self._chat.by_id.get(call.params["message"])
        channel_id = channel if isinstance(channel, str) else channel.id
        if message is None or message.deleted or message.ephemeral or message.channel_id != channel_id:
            raise refuse(10008)
        return message

    def _may(self, channel: Channel | str, wanted: Permission) -> bool:
        return isinstance(channel, str) or wanted in self._world.bot_permissions(channel)

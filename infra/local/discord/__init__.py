"""A stand-in for Discord on loopback: its REST API, gateway and webhooks, for the real discord.py.

It is a test double that also drives the demo and the benchmark, never an alternative to Discord::

    async with StandIn(token="secret") as discord:
        guild = discord.world.add_guild("Base")
        general, user = guild.add_voice_channel("General"), guild.add_member("nelly")
        ...  # a client connects to discord.api_url
        await discord.wait_connected(timeout_s=10)
        await guild.join(user, general)

Operations change ``world`` and are logged in ``sent``; ``faults`` injects failures; each webhook keeps the
posted ``messages``. What the bot writes itself stands in ``chat``, and people press its buttons::

    [card] = discord.chat.messages(staff)
    press = await discord.press(admin, card, "Admit", timeout_s=10)
    assert press.shown == "…"

``guild.audit_log`` and ``door.calls`` have what the bot did and asked for.
"""

from infra.local.discord.chat import Chat, Message
from infra.local.discord.guild import Guild
from infra.local.discord.interactions import Press
from infra.local.discord.model import AuditEntry, Channel, ChannelType, Flag, Member, Role, User
from infra.local.discord.permissions import Overwrite, Permission
from infra.local.discord.rate_limit import RateLimit
from infra.local.discord.rendering import Names, Span, parse_pings, parse_spans, render_message
from infra.local.discord.server import StandIn
from infra.local.discord.transitions import Transition, TransitionLog
from infra.local.discord.webhooks import PostedMessage, Webhook
from infra.local.discord.world import World

__all__ = [
    "AuditEntry",
    "Channel",
    "ChannelType",
    "Chat",
    "Flag",
    "Guild",
    "Member",
    "Message",
    "Names",
    "Overwrite",
    "Permission",
    "PostedMessage",
    "Press",
    "RateLimit",
    "Role",
    "Span",
    "StandIn",
    "Transition",
    "TransitionLog",
    "User",
    "Webhook",
    "World",
    "parse_pings",
    "parse_spans",
    "render_message",
]

"""Which of the sessions on disk may be resumed: the token goes to a session's address.

READY named it, over a connection to Discord. But the file may come from elsewhere, and Discord's API is not
always there to be asked. So the address must be Discord's or that of the API's own proxy; this machine's only
if the API is there too.
"""

# https://docs.discord.com/developers/events/gateway#resuming

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import structlog

from bot.gateway.frames import LOOPBACK, parse_gateway_url
from bot.outbox.session import Position

_DISCORD: Final = (".discord.gg", ".discord.com")

log = structlog.get_logger(__name__)


def keep_trusted(positions: Mapping[int, Position], api_url: str) -> dict[int, Position]:
    """Return *positions* whose address is trusted; each of the others is logged, and its shard identifies."""
    kept = {}
    for shard_id, position in positions.items():
        if is_trusted(position.session.resume_url, api_url):
            kept[shard_id] = position
        else:
            log.warning(
                "session_not_resumed",
                shard_id=shard_id,
                reason="the outbox names an address for it that is not Discord's",
                next="IDENTIFY, after a gap",
            )
    return kept


def is_trusted(resume_url: str, api_url: str) -> bool:
    """Tell whether the token may go to *resume_url*, with the API at *api_url*."""
    if parse_gateway_url(resume_url) is None:
        return False
    parts = urlsplit(resume_url)
    host = parts.hostname or ""
    if parts.username is not None or not host.isascii():
        return False
    api_host = urlsplit(api_url).hostname or ""
    if host in LOOPBACK:
        return api_host in LOOPBACK
    return f".{host}".endswith(_DISCORD) or _is_beside(host, api_host)


def _is_beside(host: str, api_host: str) -> bool:
    """Tell whether both are the same host, or in one domain, as the parts of a proxy are."""
    domain = host.partition(".")[2]
    return host == api_host or ("." in domain and domain == api_host.partition(".")[2])

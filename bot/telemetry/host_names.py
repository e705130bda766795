"""The names by which a request may call the ops server: pure.

A web page can make a browser ask a server in the browser's own network, once the page's name resolves to that
server's address (DNS rebinding). The Host header then still has the page's name.

bound to          a request's Host may be
loopback          localhost, *.localhost, a loopback address
another address   any address; a name without a dot, like a container's; a name below a domain that is never
                  public, like relay.monitoring.svc.cluster.local or relay.internal
both              the name in VOICE_RELAY_OPS_HOST
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_.-]+))(?::\d*)?")
_LOCAL: Final = "localhost"
# Reserved or in private use, so that no page on the web has such a name. svc is Kubernetes's.
# https://www.rfc-editor.org/rfc/rfc6762#appendix-G, https://www.rfc-editor.org/rfc/rfc8375,
# https://www.icann.org/en/board-activities-and-meetings/materials/approved-resolutions-special-meeting-of-the-icann-board-29-07-2024-en
_PRIVATE: Final = ("localhost", "local", "internal", "svc", "lan", "home", "corp", "intranet", "home.arpa")


def is_allowed_host(header: str | None, *, configured: str, addresses: Iterable[str]) -> bool:
    """Tell whether a request with this Host may be answered by a server that listens on *addresses*.

    A request without the header is allowed: no browser sends one.
    """
    if header is None:
        return True
    found = _HOST.fullmatch(header)
    if found is None:
        return False
    name = (found["v6"] or found["name"]).lower().rstrip(".")
    if name == configured.lower().rstrip(".") or name == _LOCAL or name.endswith(f".{_LOCAL}"):
        return True
    loopback_only = all(ipaddress.ip_address(address).is_loopback for address in addresses)
    try:
        return ipaddress.ip_address(name).is_loopback or not loopback_only
    except ValueError:
        return not loopback_only and ("." not in name or name.endswith(tuple(f".{top}" for top in _PRIVATE)))

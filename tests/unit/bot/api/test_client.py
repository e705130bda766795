"""Why the API cannot be reached, in the words of the error message."""

import errno
import socket
import ssl
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from bot.api.client import explain_failure

KEY: Any = SimpleNamespace(host="api.example", port=443, ssl=True)
UNREACHABLE = OSError(errno.EHOSTUNREACH, "Connect call failed")
UNKNOWN = socket.gaierror(-2, "Name or service not known")
CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (aiohttp.ClientConnectorError(KEY, UNREACHABLE), "No route to host"),
        (aiohttp.ClientConnectorError(KEY, OSError("Several: a, b")), "Several: a, b"),
        (aiohttp.ClientConnectorDNSError(KEY, UNKNOWN), "Name or service not known"),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "wrong version")), "wrong version"),
        (aiohttp.ClientConnectorCertificateError(KEY, CERTIFICATE), "certificate verify failed"),
    ],
)  # fmt: skip
def test_names_host_reason_and_remedy(error: Exception, reason: str) -> None:
    shown = explain_failure(error)
    assert shown.startswith(f"api.example:443: {reason}; check VOICE_RELAY_API_ENDPOINT and the network")
    assert "ssl:" not in shown


def test_names_lost_connection() -> None:
    assert explain_failure(aiohttp.ServerDisconnectedError()) == "Server disconnected"
    assert explain_failure(OSError()) == "OSError"

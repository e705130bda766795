"""Responses of ministack's service functions, which the hooks call directly."""

from typing import Any


def read_body(response: tuple[int, Any, bytes]) -> str:
    """Return the response's body; raises ValueError with it for an error status."""
    status, _, body = response
    if status >= 400:
        raise ValueError(body.decode())
    return body.decode()

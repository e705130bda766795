"""Who may call the stand-in's API: one user, one OAuth client, one API key, and the tokens in use."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping


class Accounts:
    """Credentials are made at random; ``logins`` and ``grants`` count the tokens that were given out."""

    def __init__(self) -> None:
        self.user, self.password = "relay", secrets.token_urlsafe(18)
        self.client_id, self.client_secret = "voice-relay", secrets.token_urlsafe(18)
        self.api_key = secrets.token_urlsafe(18)
        self.logins = 0
        self.grants = 0
        self.issued: list[str] = []
        self._live: set[str] = set()

    @property
    def secrets(self) -> list[str]:
        """Everything that must appear in no log, history or output."""
        return [self.password, self.client_secret, self.api_key, *self.issued]

    def log_in(self, user: object, password: object) -> str | None:
        """Return a new token; ``None`` for wrong credentials."""
        if not _same(f"{user}:{password}", f"{self.user}:{self.password}"):
            return None
        self.logins += 1
        return self._issue()

    def grant(self, client_id: object, client_secret: object) -> str | None:
        """Return a new token for the OAuth client; ``None`` for wrong credentials."""
        if not _same(f"{client_id}:{client_secret}", f"{self.client_id}:{self.client_secret}"):
            return None
        self.grants += 1
        return self._issue()

    def expire_tokens(self) -> None:
        """Let every token that was given out expire."""
        self._live.clear()

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Say whether a request with these headers may use the API."""
        kind, _, value = headers.get("Authorization", "").partition(" ")
        if kind == "Bearer":
            return value in self._live
        if kind == "Basic":
            return _same(_decode(value), f"{self.user}:{self.password}")
        return _same(headers.get("X-Api-Key", ""), self.api_key)

    def _issue(self) -> str:
        token = secrets.token_urlsafe(24)
        self.issued.append(token)
        self._live.add(token)
        return token


def _decode(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())

"""What Discord's answer about a webhook means."""

from collections.abc import Mapping
from datetime import UTC, datetime

import orjson
import pytest

from bot.api.webhook import Webhook, parse_webhook
from bot.errors import DeliveryError, Rejected, TemporaryFailure

NOW = datetime(2026, 11, 21, tzinfo=UTC)
FOUND = {"id": "1", "type": 1, "guild_id": "41771983423143937", "token": "secret"}


def _parse(status: int, body: object, headers: Mapping[str, str] | None = None) -> Webhook:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return parse_webhook(status, headers or {}, raw, NOW)


def test_reads_webhooks_guild() -> None:
    assert _parse(200, FOUND) == Webhook("41771983423143937")
    assert _parse(200, FOUND | {"guild_id": None}) == Webhook(None)


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (404, {"message": "Unknown Webhook", "code": 10015}, Rejected, "does not exist"),
        (401, {"message": "Invalid Webhook Token", "code": 50027}, Rejected, "token in the webhook's URL"),
        (200, FOUND | {"type": 2}, Rejected, "not a webhook that messages can be posted to"),
        (200, b"<html>please log in</html>", TemporaryFailure, "HTTP status 200"),
        (200, [1], TemporaryFailure, "HTTP status 200"),
        (404, b"<html>no such page</html>", TemporaryFailure, "HTTP status 404"),
        (404, {"code": [10015]}, TemporaryFailure, "HTTP status 404"),
        (401, {"message": "401: Unauthorized", "code": 0}, TemporaryFailure, "HTTP status 401"),
        (302, b"", TemporaryFailure, "HTTP status 302"),
        (503, {"code": 10015}, TemporaryFailure, "HTTP status 503"),
    ],
)
def test_believes_only_discord(status: int, body: object, kind: type[DeliveryError], says: str) -> None:
    """A proxy's or a captive portal's answer does not condemn a webhook."""
    with pytest.raises(kind, match=says):
        _parse(status, body)


def test_keeps_retry_after() -> None:
    with pytest.raises(TemporaryFailure) as failed:
        _parse(429, {"retry_after": 7}, {"Retry-After": "7"})

    assert failed.value.retry_after_s == 7

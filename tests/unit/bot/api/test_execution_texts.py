"""What an answer says about an execution is clean before anything shows, logs or stores it."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from bot.api.execution_responses import Execution, parse_status
from tests.support.secret_samples import SESSION_TOKEN, SIGNATURE

NOW = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
ARN = "arn:aws:states:eu-west-1:123456789012:execution:notify:1-01JD"
WEBHOOK = "https://discord.com/api/webhooks/127121515262115840/a-secret_webhook-token"


def read(**fields: Any) -> Execution:
    about = {"executionArn": ARN, "name": "n", "status": "FAILED", "startDate": 1.7e9, **fields}
    body = orjson.dumps({"status": "SUCCEEDED", "output": orjson.dumps(about).decode()})
    return parse_status(200, {}, body, NOW, [SESSION_TOKEN, SIGNATURE])


@pytest.mark.parametrize("name", ["input", "output", "error", "cause"])
def test_masks_secrets(name: str) -> None:
    """Also one that an invisible character splits."""
    for secret in (SESSION_TOKEN, SIGNATURE, WEBHOOK, f"{SESSION_TOKEN[:40]}\u200b{SESSION_TOKEN[40:]}"):
        text = getattr(read(**{name: f'{{"said": "{secret}"}}'}), name)
        assert "***" in text
        assert not any(part in text for part in (SESSION_TOKEN[10:30], SIGNATURE[10:30], "a-secret"))


@pytest.mark.parametrize("name", ["input", "output", "error", "cause"])
def test_escapes_what_controls_terminals(name: str) -> None:
    """JSON stays the same JSON."""
    said = {"said": "\x1b[2J\u202e\u2028\x00"}
    text = getattr(read(**{name: orjson.dumps(said).decode()}), name)
    assert text.isprintable()
    assert orjson.loads(text) == said
    assert getattr(read(**{name: "a\x1b[2Jb"}), name) == "a\\u001b[2Jb"


def test_keeps_layout() -> None:
    text = '{\n\t"a": 1\r\n}'
    assert read(input=text).input == text


def test_cuts_texts() -> None:
    found = read(error="E" * 1000, cause="c" * 100_000, output='"' + "x" * 2_000_000)
    assert [len(text or "") for text in (found.error, found.cause, found.output)] == [256, 32_768, 1 << 20]


def test_names_are_quoted() -> None:
    found = read(executionArn=f"arn\x1b[2J {SIGNATURE}", name="n\n" * 500, status="\u202eFAILED")
    assert (found.arn, found.status) == ("arn[2J ***", "FAILED")
    assert len(found.name) <= 200
    assert read().arn == ARN

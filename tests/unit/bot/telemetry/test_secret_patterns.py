"""Unknown secrets are masked by their form or their name; harmless text stays."""

import json
import time
import urllib.parse

import pytest

from bot.telemetry.redaction import Redactor
from bot.telemetry.secret_patterns import MASK, is_secret_name
from tests.support.secret_samples import (
    ACCESS_KEY,
    AUTHORIZATION,
    BOT_TOKEN,
    INTERACTION_TOKEN,
    SECRET_KEY,
    SESSION_TOKEN,
    SIGNATURE,
    WEBHOOK,
)


def texts(value: object) -> str:
    """Return every text in plain data unescaped, unlike JSON."""
    if isinstance(value, dict):
        return "\0".join(texts(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return "\0".join(map(texts, value))
    return str(value)


UNKNOWN = [
    (BOT_TOKEN, [BOT_TOKEN]),
    (f"Bot {BOT_TOKEN}", [BOT_TOKEN]),
    ("Authorization: Bot not.the-usual-shape", ["usual"]),
    (f"POST {WEBHOOK}?wait=true", ["Zyxw", "127121515262115840"]),
    (WEBHOOK.replace("/", "\\/"), ["Zyxw"]),
    (urllib.parse.quote(WEBHOOK, safe=""), ["Zyxw"]),
    (WEBHOOK.replace("https://discord.com", ""), ["Zyxw"]),
    (AUTHORIZATION, [ACCESS_KEY, SIGNATURE]),
    (f"{{'Authorization': '{AUTHORIZATION}'}}", [ACCESS_KEY, SIGNATURE]),
    (f"x-amz-security-token:{SESSION_TOKEN}\nx-amz-date:1", [SESSION_TOKEN, "x0rKwT38"]),
    (f"Signature:\n{SIGNATURE}", [SIGNATURE]),
    (f"GET /?X-Amz-Credential={ACCESS_KEY}%2F2015&X-Amz-Signature={SIGNATURE}&a=b", [ACCESS_KEY, SIGNATURE]),
    (f"aws_secret_access_key = {SECRET_KEY}", [SECRET_KEY, "K7MDENG"]),
    (f'{{"SecretAccessKey":"{SECRET_KEY}","Token":"{SESSION_TOKEN}"}}', ["K7MDENG", "x0rKwT38"]),
    (f'{{\\"secretAccessKey\\": \\"{SECRET_KEY}\\"}}'.replace("/", "\\/"), ["wJalr", "K7MDENG"]),
    (f"<SecretAccessKey>{SECRET_KEY}</SecretAccessKey>", ["K7MDENG"]),
    (f"ReadOnlyCredentials(access_key='x', secret_key='{SECRET_KEY}')", ["K7MDENG"]),
    (f"[('X-Amz-Security-Token', '{SESSION_TOKEN}')]", ["x0rKwT38"]),
    (f"[(b'X-Amz-Security-Token', b'{SESSION_TOKEN}')]", ["x0rKwT38"]),
    (f"client_secret%3D{SIGNATURE}", [SIGNATURE]),
    ("https://user:pass-word@h/", ["pass-word"]),
    ("Bearer abcdef0123456", ["abcdef0123456"]),
    (f"id {ACCESS_KEY} is not active", [ACCESS_KEY]),
    ("proxy-authorization: Negotiate YWJjZGVmZ2g", ["YWJj"]),
    ("POST /webhooks/1/abcdefgh", ["abcdefgh"]),
    (f"/interactions/1/{INTERACTION_TOKEN}/callback", [INTERACTION_TOKEN[16:]]),
    ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", ["eyJhbGci", "c2ln"]),
]


@pytest.mark.parametrize(("text", "secrets"), UNKNOWN)
def test_masks_unknown_secret_by_form(text: str, secrets: list[str]) -> None:
    line = json.dumps(Redactor().redact({"event": text, "error": ValueError(text), "raw": text.encode()}))
    assert not [secret for secret in secrets if secret in line]
    assert not Redactor().passes(json.dumps({"event": text}))


@pytest.mark.parametrize(
    "text",
    [
        "Improper token has been passed.",
        "set VOICE_RELAY_DISCORD_TOKEN or a file of that name",
        "logging in using static token",
        "Shard ID None has connected to Gateway (Session ID: 0123456789abcdef0123456789abcdef).",
        "https://a1b2c3.execute-api.eu-central-1.amazonaws.com/workflows/notify",
        "arn:aws:states:eu-west-1:123456789012:execution:notify:01JD0000000000000000000000",
        "Bot was removed",
    ],
)
def test_keeps_harmless_text(text: str) -> None:
    assert Redactor([BOT_TOKEN]).redact(text) == text


@pytest.mark.parametrize(
    "name",
    [
        *("token", "discord_token", "SessionToken", "Authorization", "x-amz-security-token", "secret_key"),
        *("password", "aws_secret_access_key", "accessKeyId", "webhook_url", "signature", "apiKey", "Cookie"),
        "tokens",
    ],
)
def test_masks_values_of_secret_names(name: str) -> None:
    assert is_secret_name(name)
    event = {name: "abc", "in": {name: ["abc", {"x": b"abc"}]}, "pair": (name, "abc"), "count": {name: 3}}
    assert Redactor().redact(event) == {
        name: MASK,
        "in": {name: [MASK, {"x": MASK}]},
        "pair": [name, MASK],
        "count": {name: 3},
    }


@pytest.mark.parametrize(
    "name", ["event_id", "execution", "guild_id", "monkey", "broken", "tokenizer", "reason"]
)
def test_other_names_are_harmless(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "a",
            "a-",
            "token",
            "token=",
            "token: a ",
            "token ",
            "secret\\",
            "eyJ",
            "eyJa.",
            "1.abcdef.",
            "AKIA",
        ),
        *("http://", "://a:", ":", "webhooks/1", "webhooks%2F1", "%2F", "Bot ", " ", "token\\\\\\'"),
        "AWS4-HMAC-SHA256 Credential=",
    ],
)
def test_masking_takes_linear_time(piece: str) -> None:
    """Half a megabyte takes about a second; a pattern that backtracks would take minutes."""
    text = "token" + piece * (500_000 // len(piece))
    began = time.process_time()
    Redactor([BOT_TOKEN]).scrub(text)
    assert time.process_time() - began < 4

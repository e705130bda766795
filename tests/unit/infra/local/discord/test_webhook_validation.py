"""Discord's documented limits, each tested at its boundary."""

from typing import Any

import pytest

from infra.local.discord.webhook_validation import EMPTY_MESSAGE, check_message

Json = dict[str, Any]
# One character that is two UTF-16 code units and four bytes.
WIDE = "𝒳"


def embed(**parts: Any) -> Json:
    return {"embeds": [{"title": "x", **parts}]}


def fields(count: int, **parts: Any) -> Json:
    return embed(fields=[{"name": "n", "value": "v", **parts}] * count)


@pytest.mark.parametrize(
    "body",
    [
        {"content": WIDE * 2000},
        {"content": "x", "unknown": {"of": "any kind"}},
        {"content": "x", "embeds": None, "username": None, "allowed_mentions": None},
        {"embeds": [{"description": WIDE * 4096}]},
        {"embeds": [{"title": "x"}] * 10},
        {"embeds": [{"image": {"url": "https://example.com/x.png"}}]},
        {"embeds": [{"description": "x" * 600}] * 10},
        embed(title=WIDE * 256),
        embed(color=0),
        embed(color=0xFFFFFF),
        embed(timestamp="2026-11-21T07:00:00.123Z"),
        embed(footer={"text": "x" * 2048}),
        embed(author={"name": "x" * 256, "url": "https://example.com"}),
        fields(25),
        fields(1, name="x" * 256, value="x" * 1024, inline=True),
        {"content": "x", "username": "x" * 80},
        {"content": "x", "flags": 1 << 2 | 1 << 12},
        {"content": "x", "allowed_mentions": {"parse": []}},
        {"content": "x", "allowed_mentions": {"parse": ["roles"], "users": ["1"] * 100}},
    ],
)
def test_accepts_message_within_limits(body: Json) -> None:
    assert check_message(body, with_components=False) is None


@pytest.mark.parametrize(
    ("body", "place", "code"),
    [
        ({"content": "x" * 2001}, "content", "BASE_TYPE_MAX_LENGTH"),
        ({"content": 5}, "content", "STRING_TYPE_CONVERT"),
        ({"embeds": {}}, "embeds", "LIST_TYPE_CONVERT"),
        ({"embeds": ["x"]}, "embeds.0", "MODEL_TYPE_CONVERT"),
        ({"embeds": [{"title": "x"}] * 11}, "embeds", "BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"description": "x" * 601}] * 10}, "embeds", "MAX_EMBED_SIZE_EXCEEDED"),
        (fields(6, value="x" * 1000), "embeds", "MAX_EMBED_SIZE_EXCEEDED"),
        (embed(footer={"text": "x" * 2000}, description="x" * 4000), "embeds", "MAX_EMBED_SIZE_EXCEEDED"),
        (embed(title="x" * 257), "embeds.0.title", "BASE_TYPE_MAX_LENGTH"),
        (embed(description="x" * 4097), "embeds.0.description", "BASE_TYPE_MAX_LENGTH"),
        (embed(color=1 << 24), "embeds.0.color", "NUMBER_TYPE_MAX"),
        (embed(color=-1), "embeds.0.color", "NUMBER_TYPE_MIN"),
        (embed(color="red"), "embeds.0.color", "NUMBER_TYPE_COERCE"),
        (embed(timestamp="yesterday"), "embeds.0.timestamp", "DATE_TIME_TYPE_PARSE"),
        (embed(url="javascript:x"), "embeds.0.url", "URL_TYPE_INVALID_URL"),
        (embed(footer={"text": "x" * 2049}), "embeds.0.footer.text", "BASE_TYPE_BAD_LENGTH"),
        (embed(footer={}), "embeds.0.footer.text", "BASE_TYPE_REQUIRED"),
        (embed(author={"name": "x" * 257}), "embeds.0.author.name", "BASE_TYPE_BAD_LENGTH"),
        (fields(26), "embeds.0.fields", "BASE_TYPE_MAX_LENGTH"),
        (fields(1, name="x" * 257), "embeds.0.fields.0.name", "BASE_TYPE_BAD_LENGTH"),
        (fields(1, value="x" * 1025), "embeds.0.fields.0.value", "BASE_TYPE_BAD_LENGTH"),
        (fields(1, value=" "), "embeds.0.fields.0.value", "BASE_TYPE_REQUIRED"),
        (fields(1, inline="yes"), "embeds.0.fields.0.inline", "BOOLEAN_TYPE_CONVERT"),
        ({"content": "x", "username": "x" * 81}, "username", "BASE_TYPE_BAD_LENGTH"),
        ({"content": "x", "username": ""}, "username", "BASE_TYPE_REQUIRED"),
        ({"content": "x", "username": "My Discord"}, "username", "USERNAME_INVALID_CONTAINS"),
        ({"content": "x", "username": "CLYDE"}, "username", "USERNAME_INVALID_CONTAINS"),
        ({"content": "x", "flags": 1}, "flags", "MESSAGE_FLAGS_INVALID"),
        ({"content": "x", "components": [{}] * 41}, "components", "BASE_TYPE_MAX_LENGTH"),
        (
            {"content": "x", "allowed_mentions": {"parse": ["all"]}},
            "allowed_mentions.parse.0",
            "BASE_TYPE_CHOICES",
        ),
        (
            {"content": "x", "allowed_mentions": {"users": ["1"] * 101}},
            "allowed_mentions.users",
            "BASE_TYPE_MAX_LENGTH",
        ),
        (
            {"content": "x", "allowed_mentions": {"users": ["nelly"]}},
            "allowed_mentions.users.0",
            "NUMBER_TYPE_COERCE",
        ),
        (
            {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
            "allowed_mentions",
            "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
        ),
    ],
)
def test_refuses_message_beyond_limits(body: Json, place: str, code: str) -> None:
    """The error names the field beyond the limit with Discord's code."""
    refused = check_message(body, with_components=True)
    assert refused is not None
    assert (refused["code"], refused["message"]) == (50035, "Invalid Form Body")
    found = refused["errors"]
    for part in place.split("."):
        assert list(found) == [part]
        found = found[part]
    assert [error["code"] for error in found["_errors"]] == [code]


def test_reports_every_error() -> None:
    refused = check_message({"content": 1, "embeds": [{"title": 2, "color": "x"}]}, with_components=False)
    assert refused is not None
    assert refused["errors"].keys() == {"content", "embeds"}
    assert refused["errors"]["embeds"]["0"].keys() == {"title", "color"}
    assert refused["errors"]["content"]["_errors"][0]["message"] == 'Could not interpret "1" as string.'


@pytest.mark.parametrize("body", [[], "x", None, 5])
def test_refuses_non_object_body(body: object) -> None:
    refused = check_message(body, with_components=False)
    assert refused is not None
    assert refused["code"] == 50035


@pytest.mark.parametrize(
    "body",
    [{}, {"content": ""}, {"content": " \n"}, {"embeds": []}, {"embeds": [{}]}, {"embeds": [{"color": 1}]}],
)
def test_refuses_empty_message(body: Json) -> None:
    assert check_message(body, with_components=False) == EMPTY_MESSAGE


def test_components_need_query_parameter() -> None:
    body = {"components": [{"type": 10, "content": "x"}]}
    assert check_message(body, with_components=False) == EMPTY_MESSAGE
    assert check_message(body, with_components=True) is None


def test_components_v2_exclude_content() -> None:
    refused = check_message({"content": "x", "flags": 1 << 15, "components": [{}]}, with_components=True)
    assert refused is not None
    assert refused["code"] == 50035

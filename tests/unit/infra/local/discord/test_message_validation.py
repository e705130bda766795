"""What Discord refuses in a bot's message, beyond what it refuses in a webhook's."""

from typing import Any

import pytest

from infra.local.discord.message_validation import EPHEMERAL, check_bot_message
from infra.local.discord.refusal import Refused

Json = dict[str, Any]


def button(**parts: Any) -> Json:
    return {"type": 2, "style": 1, "label": "Admit", "custom_id": "a", **parts}


def rows(*of_buttons: list[Json], **parts: Any) -> Json:
    return {"content": "x", "components": [{"type": 1, "components": row} for row in of_buttons], **parts}


@pytest.mark.parametrize(
    "body",
    [
        rows([button(custom_id=f"{i}") for i in range(5)]),
        rows(*[[button(custom_id=f"{i}")] for i in range(5)]),
        rows([button(custom_id="x" * 100, label="y" * 80)]),
        rows([button(style=5, custom_id=None, url="https://example.com")]),
        rows([button(label=None, emoji={"name": "☕"})]),
        rows([button(disabled=True)], nonce="x" * 25, enforce_nonce=True),
        {"content": "x", "username": "clyde", "nonce": 7},
        {"embeds": [{"title": "x"}]},
    ],
)
def test_accepts_message(body: Json) -> None:
    assert check_bot_message(body) is body


@pytest.mark.parametrize(
    ("body", "place", "code"),
    [
        (rows([button(custom_id=f"{i}") for i in range(6)]), "0.components", "BASE_TYPE_BAD_LENGTH"),
        (rows([]), "0.components", "BASE_TYPE_BAD_LENGTH"),
        (rows(*[[button(custom_id=f"{i}")] for i in range(6)]), "", "BASE_TYPE_MAX_LENGTH"),
        (rows([button(custom_id="x" * 101)]), "0.components.0.custom_id", "BASE_TYPE_BAD_LENGTH"),
        (rows([button(custom_id="")]), "0.components.0.custom_id", "BASE_TYPE_REQUIRED"),
        (rows([button(custom_id=None)]), "0.components.0", "BASE_TYPE_REQUIRED"),
        (rows([button(label="y" * 81)]), "0.components.0.label", "BASE_TYPE_MAX_LENGTH"),
        (rows([button(label=None)]), "0.components.0", "BUTTON_COMPONENT_INVALID"),
        (rows([button(style=7)]), "0.components.0.style", "NUMBER_TYPE_MAX"),
        (rows([button(style=5)]), "0.components.0", "BASE_TYPE_REQUIRED"),
        (
            rows([button(url="https://example.com")]),
            "0.components.0",
            "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE",
        ),
        (rows([button(type=3)]), "0.components.0.type", "UNION_TYPE_CHOICES"),
        ({"content": "x", "components": [button()]}, "0.type", "UNION_TYPE_CHOICES"),
        (
            rows([button()], [button(disabled=True)]),
            "1.components.0.custom_id",
            "COMPONENT_CUSTOM_ID_DUPLICATED",
        ),
    ],
)
def test_refuses_components(body: Json, place: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        check_bot_message(body)
    found = refused.value.body["errors"]["components"]
    for part in filter(None, place.split(".")):
        found = found[part]
    assert (refused.value.status, found["_errors"][0]["code"]) == (400, code)


@pytest.mark.parametrize(
    "body",
    [{}, {"content": " "}, {"components": rows([button()])["components"]}, {"content": "", "embeds": [{}]}],
)
def test_refuses_empty_message(body: Json) -> None:
    """Buttons alone are no message, unless it is one of components only."""
    with pytest.raises(Refused) as refused:
        check_bot_message(body)
    assert refused.value.body["code"] == 50006


@pytest.mark.parametrize("nonce", ["x" * 26, 10**25])
def test_refuses_long_nonce(nonce: str | int) -> None:
    with pytest.raises(Refused) as refused:
        check_bot_message({"content": "x", "nonce": nonce})
    assert list(refused.value.body["errors"]) == ["nonce"]


def test_ephemeral_is_for_interactions() -> None:
    body = {"content": "x", "flags": EPHEMERAL}
    assert check_bot_message(body, of_interaction=True) is body
    with pytest.raises(Refused):
        check_bot_message(body)


def test_edit_may_be_partial() -> None:
    assert check_bot_message({}, partial=True) == {}
    with pytest.raises(Refused):
        check_bot_message({"content": "x" * 2001}, partial=True)

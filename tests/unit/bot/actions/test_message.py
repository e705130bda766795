"""Messages as workflows give them: within Discord's limits, and what becomes of them."""

from typing import Any

import pytest

from bot.actions.asked import Editing, Sending, parse_asked
from bot.actions.catalogue import ACTIONS
from bot.actions.message import Message, build_edit, build_new
from bot.actions.refusal import ActionError
from bot.button import Button, build_button, parse_button
from bot.settings.values import ACTIONS as SETTABLE

EXECUTION = "01JD0000000000000000000000"


def _buttons(count: int) -> list[dict[str, str]]:
    return [{"label": "x", "signal": f"s{number}"} for number in range(count)]


def _problem(message: dict[str, Any]) -> str:
    with pytest.raises(ActionError) as refusal:
        parse_asked(Sending, {"action": "send", "key": "e:1", "channel_id": "1", "message": message})
    assert refusal.value.name == "Action.BadInput"
    return refusal.value.cause


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({}, "needs content or an embed"),
        ({"content": ""}, "needs content or an embed"),
        ({"content": "x" * 2001}, "message.content"),
        ({"content": "x", "tts": True}, "message.tts"),
        ({"embeds": [{"title": "x" * 257}]}, "message.embeds.0.title"),
        ({"embeds": [{"fields": [{"name": "x", "value": ""}]}]}, "message.embeds.0.fields.0.value"),
        ({"embeds": [{"fields": [{"name": "x", "value": "y"}] * 26}]}, "message.embeds.0.fields"),
        ({"embeds": [{"title": "x"}] * 11}, "message.embeds"),
        ({"embeds": [{"description": "x" * 3001}] * 2}, "more than 6000 characters"),
        ({"content": "x", "buttons": _buttons(26)}, "message.buttons"),
        ({"content": "x", "buttons": [*_buttons(1), *_buttons(1)]}, "two buttons have the same signal"),
        ({"content": "x", "buttons": [{"label": "x" * 81, "signal": "a"}]}, "message.buttons.0.label"),
        ({"content": "x", "buttons": [{"label": "x", "signal": "A b"}]}, "message.buttons.0.signal"),
        ({"content": "x", "buttons": [{"label": "x", "signal": "a", "style": "link"}]}, "buttons.0.style"),
        ({"content": "x", "mention_users": ["everyone"]}, "message.mention_users.0"),
        ({"content": "x", "mention_roles": ["1"] * 101}, "message.mention_roles"),
    ],
)
def test_refuses_what_discord_would(message: dict[str, Any], place: str) -> None:
    assert place in _problem(message)


def test_pings_each_once() -> None:
    """Discord refuses a message that lists an id twice among those that it may ping."""
    message = Message(content="x", mention_users=("1", "2", "1"), mention_roles=("3", "3"))

    mentions = build_new(message, EXECUTION, "e:1")["allowed_mentions"]
    assert mentions == {"parse": [], "users": ["1", "2"], "roles": ["3"]}


def test_takes_the_largest() -> None:
    Message.model_validate(
        {
            "content": "x" * 2000,
            "embeds": [{"description": "x" * 600}] * 10,
            "buttons": _buttons(25),
            "mention_users": ["1"] * 100,
        }
    )


def test_problem_repeats_no_value() -> None:
    """A cause goes into the execution's history, and a text may name people."""
    secret = "nelly" * 500

    assert "nelly" not in _problem({"content": secret, "embeds": [{"url": secret}]})


def test_problem_is_printable() -> None:
    assert _problem({"content": "x", "\x1b[2J": 1}) == "message.[2J: Extra inputs are not permitted"


def test_rows_have_five_buttons() -> None:
    message = Message.model_validate({"content": "x", "buttons": _buttons(7)})
    rows = build_new(message, EXECUTION, "key")["components"]

    assert [len(row["components"]) for row in rows] == [5, 2]


def test_nonce_tells_keys_apart() -> None:
    message = Message(content="x")
    nonces = [build_new(message, EXECUTION, key)["nonce"] for key in ("a:1", "a:1", "a:2", "b:1")]

    assert nonces[0] == nonces[1]
    assert len(set(nonces)) == 3
    # https://docs.discord.com/developers/resources/message#create-message
    assert {len(nonce) <= 25 for nonce in nonces} == {True}


@pytest.mark.parametrize(
    ("message", "changed"),
    [
        ({"content": None}, {"content": ""}),
        ({"buttons": []}, {"components": []}),
        ({"embeds": []}, {"embeds": []}),
        ({}, {}),
    ],
)
def test_edit_changes_what_is_given(message: dict[str, Any], changed: dict[str, Any]) -> None:
    mentions: dict[str, Any] = {"allowed_mentions": {"parse": [], "users": [], "roles": []}}

    assert build_edit(Message.model_validate(message), EXECUTION) == mentions | changed


def test_edit_needs_no_text() -> None:
    given = {"action": "edit", "key": "e:1", "channel_id": "1", "message_id": "2", "message": {"buttons": []}}

    assert isinstance(parse_asked(Editing, given), Editing)


@pytest.mark.parametrize("execution", [EXECUTION, "x" * 80, "a-b_c.d"])
def test_button_survives_the_way_back(execution: str) -> None:
    custom_id = build_button("admit", execution)

    assert parse_button(custom_id) == Button("admit", execution)
    assert len(custom_id) <= 100


@pytest.mark.parametrize(
    ("signal", "execution"), [("admit", "x" * 90), ("a" * 13, "x" * 80), ("Admit", "x"), ("admit", "")]
)
def test_impossible_button(signal: str, execution: str) -> None:
    with pytest.raises(ValueError, match="signal"):
        build_button(signal, execution)


@pytest.mark.parametrize(
    "custom_id",
    ["", "signal", "signal:admit", "signal:admit:", "other:admit:x", "signal:admit:x:y", "signal::x"],
)
def test_foreign_button(custom_id: str) -> None:
    assert parse_button(custom_id) is None


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"channel_id": 1}, "channel_id"),
        ({"channel_id": "../1"}, "channel_id"),
        ({"channel_id": "1\n"}, "channel_id"),
        ({"key": ""}, "key"),
        ({"key": ":x"}, "key"),
        ({"key": "x" * 300}, "key"),
        ({"key": None}, "key"),
        ({"other": 1}, "other"),
        ({"message": None}, "message"),
    ],
)
def test_refuses_other_input(given: dict[str, Any], place: str) -> None:
    task = {"action": "send", "key": "e:1", "channel_id": "1", "message": {"content": "x"}}

    with pytest.raises(ActionError, match=rf"^Action.BadInput: {place}: "):
        parse_asked(Sending, task | given)


def test_settings_name_every_action() -> None:
    assert tuple(ACTIONS) == SETTABLE

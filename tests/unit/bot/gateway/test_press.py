"""What of an interaction is a press of a workflow's button, and the sentence that answers it."""

from typing import Any

import pytest

from bot.api.signals import Answer, Decider, Outcome, Sender
from bot.gateway.press import NotAPress, describe, parse_press
from tests.support.presses import build_press

AT_MS = 1_795_246_200_123
SINCE = "<t:1795246200:R>"


def test_reads_who_pressed_what() -> None:
    press = parse_press(build_press())
    assert (press.signal, press.execution) == ("admit", "01JD-x")
    assert press.sender == Sender("user", "5", ["6", "7"], "17825792", "2")
    assert press.message == {"guild_id": "1", "channel_id": "2", "message_id": "3"}


def test_private_press_has_no_roles() -> None:
    payload = build_press(user={"id": "8"})
    del payload["member"], payload["guild_id"]
    press = parse_press(payload)
    assert press.sender == Sender("user", "8", [], None, "2")
    assert "guild_id" not in press.message


@pytest.mark.parametrize(
    "member",
    [
        {"user": {"id": "5"}, "roles": "6", "permissions": 8},
        {"user": {"id": "5"}, "roles": [None, "x", {}, "6; DROP"], "permissions": "8 OR 1"},
        {"user": {"id": "5"}, "permissions": "9" * 21},
    ],
)
def test_unreadable_permissions_count_for_nothing(member: Any) -> None:
    assert parse_press(build_press(member=member)).sender == Sender("user", "5", [], None, "2")


@pytest.mark.parametrize(
    "custom_id",
    [
        *("", "signal", "signal:", "signal:admit", "signal:admit:", "signal::x", "other:admit:x"),
        *(
            "signal:admit:x:y",
            "signal:admit:x ",
            "signal:admit:x\n",
            "signal:admit:x\x00",
            "signal:ädmit:x",
        ),
        *(f"signal:{'a' * 41}:x", f"signal:a:{'x' * 81}", None, 5, ["signal:admit:x"], "SIGNAL:admit:x"),
    ],
)
def test_leaves_foreign_buttons_alone(custom_id: Any) -> None:
    data = {"component_type": 2, "custom_id": custom_id}
    with pytest.raises(NotAPress, match="not a button of a workflow"):
        parse_press(build_press(data=data))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": 1}, "not a component"),
        ({"type": 2, "data": {"name": "ping"}}, "not a component"),
        ({"type": 5}, "not a component"),
        ({"type": "3"}, "not a component"),
        ({"data": {"component_type": 3, "custom_id": "signal:admit:x"}}, "not a button"),
        ({"data": None}, "not a button"),
        ({"id": None}, "without ids"),
        ({"id": "1/../2"}, "without ids"),
        ({"application_id": {}}, "without ids"),
        ({"token": None}, "without a token"),
        ({"token": "a/../b"}, "without a token"),
        ({"token": "a?b"}, "without a token"),
        ({"token": ""}, "without a token"),
        ({"member": None}, "unknown user"),
        ({"member": {"user": {"id": "x"}}}, "unknown user"),
    ],
)
def test_says_why_it_is_no_press(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotAPress, match=reason):
        parse_press(build_press(**changes))


def decided(kind: str, id: str | None = None, at_ms: int | None = AT_MS) -> Answer:  # noqa: A002
    return Answer(Outcome.ALREADY_DECIDED, "decline", Decider(kind, id), at_ms)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Answer(Outcome.SIGNALLED), "Your decision counts. The workflow goes on."),
        (Answer(Outcome.NOT_ALLOWED), "You may not decide this."),
        (Answer(Outcome.NOT_WAITING), "Nothing waits for this decision any more."),
        (decided("user", "9"), f"<@9> already decided this {SINCE}."),
        (decided("user", "5"), f"You already decided this {SINCE}."),
        (decided("relay"), f"The relay already decided this {SINCE}."),
        (decided("operator", "x", None), "An operator already decided this."),
        (decided("user", "@everyone"), f"The relay already decided this {SINCE}."),
    ],
)
def test_one_sentence_for_each_outcome(answer: Answer, sentence: str) -> None:
    assert describe(answer, parse_press(build_press())) == sentence


def test_every_outcome_has_a_sentence() -> None:
    for outcome in Outcome:
        assert describe(Answer(outcome), parse_press(build_press())).endswith(".")

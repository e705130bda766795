"""The escort: with whom it does what, and that it looks again before it acts."""

from typing import Any

import pytest

from tests.unit.workflow.any_event import envelope
from tests.unit.workflow.walking import EXECUTION, TaskError, Walked, Walker, read_definition

GUILD, LOUNGE, STAGE, AFK = "41771983423143937", "701", "702", "703"
NELLY, MOLLY = "80351110224678912", "80351110224678913"

DEFINITION = read_definition("escort")


def walk(
    kind: str,
    present: list[str],
    *,
    into: str | None,
    out_of: str | None = None,
    acts: bool = True,
    **parameters: Any,
) -> Walked:
    def channel(channel_id: str | None) -> dict[str, str] | None:
        return {"id": channel_id, "name": "x", "kind": "voice"} if channel_id else None

    data = {
        "guild": {"id": GUILD, "name": "x"},
        "user": {"id": NELLY, "name": "x", "display_name": None, "bot": False},
        "channel": channel(into),
        "previous_channel": channel(out_of),
    }
    execution = {"id": EXECUTION, "parameters": parameters, "events": [envelope(kind, data)]}
    answers: dict[str, list[Any]] = {"LookAgain": [{"user_ids": present}], "Act": [{}] if acts else []}
    return Walker(DEFINITION).walk(execution, answers)


def test_lonely_person_is_moved() -> None:
    """Somebody left; who is alone there now is not the person of the event."""
    walked = walk(
        "left", [MOLLY], into=None, out_of=LOUNGE, do="move", whom="alone", wait_s=600, target_channel=AFK
    )

    assert walked.given("LookAgain")["channel_id"] == LOUNGE
    assert walked.given("Act") == {
        "action": "move",
        "key": f"{EXECUTION}:act",
        "reason": "Escort, 10 min after the event",
        "guild_id": GUILD,
        "user_id": MOLLY,
        "channel_id": AFK,
        "from_channel_id": LOUNGE,
    }
    assert walked.output == {"did": "move", "user": MOLLY}


@pytest.mark.parametrize("present", [[], [NELLY, MOLLY]])
def test_company_needs_no_escort(present: list[str]) -> None:
    walked = walk("joined", present, into=LOUNGE, do="move", whom="alone", target_channel=AFK, acts=False)

    assert walked.states == ["WaitAWhile", "LookAgain", "IsThere", "NothingToDo"]
    assert walked.output == {"did": "nothing", "user": None}


def test_first_in_a_channel_is_alone() -> None:
    walked = walk("joined", [NELLY], into=LOUNGE, do="disconnect", whom="alone")

    assert (walked.given("Act")["action"], walked.given("Act")["user_id"]) == ("disconnect", NELLY)


def test_person_on_stage_is_muted() -> None:
    walked = walk("moved", [MOLLY, NELLY], into=STAGE, out_of=LOUNGE, do="mute")

    assert walked.given("LookAgain")["channel_id"] == STAGE
    assert (walked.given("Act")["user_id"], walked.given("Act")["on"]) == (NELLY, True)
    assert walked.output == {"did": "mute", "user": NELLY}


def test_person_who_left_is_asked() -> None:
    walked = walk("left", [MOLLY], into=None, out_of=LOUNGE, do="ask", text="Why?")

    assert walked.given("Act") == {
        "action": "direct_message",
        "key": f"{EXECUTION}:act",
        "user_id": NELLY,
        "message": {"content": "Why?"},
    }


@pytest.mark.parametrize(
    ("kind", "into", "out_of", "present"),
    [("joined", LOUNGE, None, [MOLLY]), ("left", None, LOUNGE, [NELLY])],
)
def test_changed_mind_needs_no_escort(
    kind: str, into: str | None, out_of: str | None, present: list[str]
) -> None:
    """Who joined has left by now, or who left is back."""
    walked = walk(kind, present, into=into, out_of=out_of, do="ask", text="Why?", acts=False)

    assert walked.output["did"] == "nothing"


def test_refusal_fails_by_name() -> None:
    data = {"guild": {"id": GUILD}, "user": {"id": NELLY}, "channel": {"id": STAGE}, "previous_channel": None}
    execution = {"parameters": {"do": "mute"}, "events": [envelope("joined", data)]}
    answers: dict[str, list[Any]] = {
        "LookAgain": [{"user_ids": [NELLY]}],
        "Act": [TaskError("Discord.MissingPermissions")],
    }

    with pytest.raises(TaskError, match=r"Discord\.MissingPermissions"):
        Walker(DEFINITION).walk(execution, answers)


@pytest.mark.parametrize("name", ["LookAgain", "Act"])
def test_acts_as_admit_does(name: str) -> None:
    """The times and retries of every action are shared."""
    move, action = read_definition("admit")["States"]["Move"], DEFINITION["States"][name]

    for field in ("Type", "Resource", "TimeoutSeconds", "HeartbeatSeconds", "Retry"):
        assert action[field] == move[field]

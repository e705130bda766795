"""The waiting room: who is asked, what each end does, what the card says, and what is caught."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.workflow.any_event import NASTY, envelope
from tests.unit.workflow.walking import EXECUTION, Later, TaskError, Walked, Walker, read_definition
from tooling.costs import ADMISSION

GUILD, ROOM, TARGET, STAFF = (
    "41771983423143937",
    "127121515262115840",
    "127121515262115841",
    "127121515262115842",
)
NELLY, MOLLY, FIRST, SECOND = "80351110224678912", "80351110224678913", "601", "602"
CARD = {"channel_id": STAFF, "message_id": "900"}
PARAMETERS = {"target_channel": TARGET, "staff_channel": STAFF, "deciding_roles": [FIRST]}

DEFINITION = read_definition("admit")
HERE = [{"channel_id": ROOM}]
TIMED_OUT = TaskError("States.Timeout")


def event(*, time: str = "2026-11-21T07:00:00.123Z", name: str = "nelly") -> dict[str, Any]:
    data = {
        "guild": {"id": GUILD, "name": name},
        "user": {"id": NELLY, "name": name, "display_name": name, "bot": False},
        "channel": {"id": ROOM, "name": name, "kind": "voice"},
        "previous_channel": None,
    }
    return envelope("joined", data, time=time)


def press(signal: str, *, by: str | None = MOLLY, kind: str = "user") -> dict[str, Any]:
    sender = {"kind": kind} | ({"id": by} if by else {})
    return {"signal": signal, "data": {}, "by": sender, "at": "2026-11-21T07:02:05.000Z"}


def walk(
    *waits: Any, parameters: dict[str, Any] | None = None, name: str = "nelly", **answers: Any
) -> Walked:
    execution = {
        "id": EXECUTION,
        "destination": "default",
        "parameters": PARAMETERS if parameters is None else parameters,
        "events": [event(name=name)],
    }
    usual = {"FindPerson": HERE, "SendCard": [CARD], "WaitForDecision": waits, "CloseCard": [CARD]}
    return Walker(DEFINITION).walk(execution, usual | answers)


def said(message: dict[str, Any]) -> list[str]:
    (embed,) = message["embeds"]
    lines: list[str] = embed["description"].split("\n")
    return lines


def _waits(walked: Walked) -> list[float]:
    return [seconds for name, seconds in walked.timeouts if name == "WaitForDecision"]


def closed(walked: Walked) -> list[str]:
    return said(walked.given("CloseCard")["message"])


def test_admitted_person_is_moved() -> None:
    walked = walk(Later(125, press("admit")), Move=[{"channel_id": TARGET}])

    assert walked.given("Move") == {
        "action": "move",
        "key": f"{EXECUTION}:move",
        "reason": f"Waiting room: admitted by user {MOLLY}",
        "guild_id": GUILD,
        "user_id": NELLY,
        "channel_id": TARGET,
        "from_channel_id": ROOM,
    }
    assert walked.states[-2:] == ["AfterAdmission", "Done"]
    # What the table of costs is made from.
    assert len(walked.states) == ADMISSION
    assert walked.output == {
        "outcome": "admitted",
        "by": MOLLY,
        "after_s": 125,
        "user": NELLY,
        "guild": GUILD,
        "message": CARD,
    }
    assert closed(walked) == [f"<@{NELLY}> waited in <#{ROOM}>", f"✅ Admitted by <@{MOLLY}> after 2 min 5 s"]


@pytest.mark.parametrize(("decline", "disconnects"), [("disconnect", True), ("stay", False), (None, False)])
def test_declined_person_leaves_or_stays(decline: str | None, disconnects: bool) -> None:
    parameters = PARAMETERS | ({"decline": decline} if decline else {})
    disconnect: list[Any] = [{}] if disconnects else []
    walked = walk(Later(5, press("decline")), parameters=parameters, Disconnect=disconnect)

    assert ("Disconnect" in walked.states) is disconnects
    assert "Move" not in walked.states
    assert walked.states[-2:] == ["AfterDecline", "Done"]
    assert (walked.output["outcome"], walked.output["by"]) == ("declined", MOLLY)
    assert closed(walked)[1] == f"⛔ Declined by <@{MOLLY}> after 5 s"


def test_leaving_withdraws_the_card() -> None:
    walked = walk(Later(61, press("withdraw", by=None, kind="relay")))

    assert (walked.output["outcome"], walked.output["by"]) == ("withdrawn", None)
    assert closed(walked)[1] == "🚶 Left after 1 min 1 s"
    assert not {"Move", "Disconnect", "AfterAdmission", "AfterDecline", "AfterExpiry"} & set(walked.states)


def test_undecided_card_expires() -> None:
    walked = walk(Later(1800, TIMED_OUT))

    assert _waits(walked) == [1800]
    assert (walked.output["outcome"], walked.output["by"]) == ("expired", None)
    assert walked.output["after_s"] == 1800
    assert walked.states[-2:] == ["AfterExpiry", "Done"]
    assert closed(walked)[1] == "⌛ No decision after 30 min"


SECOND_TOO = PARAMETERS | {"escalation_role": SECOND, "escalate_after_s": 60, "expire_after_s": 200}


def test_second_role_is_asked() -> None:
    walked = walk(
        Later(60, TIMED_OUT),
        Later(9, press("admit")),
        parameters=SECOND_TOO,
        AskSecondRole=[{"channel_id": STAFF, "message_id": "901"}],
        Move=[{"channel_id": TARGET}],
    )

    assert _waits(walked) == [60, 140]
    message = walked.given("AskSecondRole")["message"]
    assert message["content"] == (
        f"<@&{SECOND}> <@{NELLY}> is still waiting in <#{ROOM}>, and nobody has decided for 1 min: "
        f"https://discord.com/channels/{GUILD}/{STAFF}/900"
    )
    assert (message["mention_roles"], message["mention_users"]) == ([SECOND], [])
    # The card is the first one.
    assert walked.given("CloseCard")["message_id"] == "900"
    assert walked.output["after_s"] == 69


def test_expires_after_the_second_role() -> None:
    walked = walk(Later(60, TIMED_OUT), Later(140, TIMED_OUT), parameters=SECOND_TOO, AskSecondRole=[CARD])

    assert walked.output["outcome"] == "expired"
    assert walked.states.count("AskSecondRole") == 1
    assert closed(walked)[1] == "⌛ No decision after 3 min 20 s"


def test_unsent_reminder_keeps_waiting() -> None:
    walked = walk(
        TIMED_OUT,
        press("decline"),
        parameters=SECOND_TOO,
        AskSecondRole=[TaskError("Discord.MissingPermissions")],
    )

    assert walked.output["outcome"] == "declined"


def _allowed(walked: Walked) -> list[dict[str, Any]]:
    return [json.loads(each["Item"]["allow"]["S"]) for each in walked.all_given("WaitForDecision")]


def test_only_deciders_may_decide() -> None:
    walked = walk(
        TIMED_OUT,
        TIMED_OUT,
        parameters=SECOND_TOO | {"deciding_users": [MOLLY], "deciding_permission": "move_members"},
        AskSecondRole=[CARD],
    )

    # https://docs.discord.com/developers/topics/permissions#permissions-bitwise-permission-flags
    bits, channel = str(1 << 24), CARD["channel_id"]
    first = {
        "users": [MOLLY],
        "roles": [FIRST],
        "permissions": bits,
        "channel": channel,
        "operator": True,
    }
    second = first | {"roles": [FIRST, SECOND]}
    leaving = {"relay": True, "operator": True}
    assert _allowed(walked) == [
        {"admit": first, "decline": first, "withdraw": leaving},
        {"admit": second, "decline": second, "withdraw": leaving},
    ]


@pytest.mark.parametrize(
    ("name", "bit"),
    [
        ("kick_members", 1),
        ("ban_members", 2),
        ("administrator", 3),
        ("manage_channels", 4),
        ("manage_guild", 5),
        ("mute_members", 22),
        ("deafen_members", 23),
        ("move_members", 24),
        ("manage_roles", 28),
        ("moderate_members", 40),
    ],
)
def test_permission_has_its_bit(name: str, bit: int) -> None:
    walked = walk(press("decline"), parameters=PARAMETERS | {"deciding_permission": name})

    assert _allowed(walked)[0]["admit"]["permissions"] == str(1 << bit)


def test_nobody_named_means_operators_alone() -> None:
    parameters = {key: value for key, value in PARAMETERS.items() if key != "deciding_roles"}
    walked = walk(press("decline", by=None, kind="operator"), parameters=parameters)

    assert _allowed(walked)[0]["decline"] == {
        "users": [],
        "roles": [],
        "channel": CARD["channel_id"],
        "operator": True,
    }
    assert walked.output["by"] == "operator"
    assert closed(walked)[1].startswith("⛔ Declined by an operator after ")


def test_wait_is_written_down() -> None:
    walked = walk(press("decline"))

    item = walked.given("WaitForDecision")["Item"]
    assert walked.given("WaitForDecision")["TableName"] == "${WaitsTable}"
    assert (item["name"], item["token"]) == ({"S": EXECUTION}, {"S": "a-token"})
    # After the time-out, or the last press would find nothing.
    assert int(item["expires_at"]["N"]) == 1_795_244_400 + 1800 + 600


def test_card_asks_with_buttons() -> None:
    sent = walk(press("decline")).given("SendCard")

    assert (sent["action"], sent["key"], sent["channel_id"]) == ("send", f"{EXECUTION}:card", STAFF)
    assert said(sent["message"]) == [
        f"🚪 <@{NELLY}> is waiting in <#{ROOM}> (joined <t:1795244400:R>)",
        f"Admit moves them to <#{TARGET}>, Decline leaves them there.",
    ]
    assert sent["message"]["content"] == f"<@&{FIRST}>"
    assert (sent["message"]["mention_roles"], sent["message"]["mention_users"]) == ([FIRST], [])
    assert [(each["label"], each["signal"]) for each in sent["message"]["buttons"]] == [
        ("Admit", "admit"),
        ("Decline", "decline"),
    ]


def test_silent_card_pings_nobody() -> None:
    parameters = PARAMETERS | {"ping": False, "deciding_users": [MOLLY]}
    message = walk(press("decline"), parameters=parameters).given("SendCard")["message"]

    assert message["content"] == f"<@&{FIRST}> <@{MOLLY}>"
    assert not {"mention_roles", "mention_users"} & message.keys()


def test_closed_card_has_no_buttons() -> None:
    given_ = walk(press("decline")).given("CloseCard")

    assert (given_["action"], given_["channel_id"], given_["message_id"]) == ("edit", STAFF, "900")
    assert given_["message"]["buttons"] == []


@pytest.mark.parametrize(
    "found",
    [
        {"channel_id": None},
        {"channel_id": TARGET},
        TaskError("Discord.UnknownMember"),
        TaskError("Discord.NotInVoice"),
    ],
)
def test_gone_person_gets_no_card(found: Any) -> None:
    execution = {"parameters": PARAMETERS, "events": [event()]}
    walked = Walker(DEFINITION).walk(execution, {"FindPerson": [found]})

    assert walked.states == ["FindPerson", "StillThere", "Done"]
    assert walked.output["outcome"] == "gone"
    assert (walked.output["user"], walked.output["guild"]) == (NELLY, GUILD)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("Discord.NotInVoice", "they had left the waiting room"),
        (
            "Discord.MissingPermissions",
            "the bot lacks the permission Move Members, or Connect in that channel",
        ),
        ("Discord.UnknownChannel", "the channel to move them to does not exist"),
        ("Action.NotAllowed", "the bot was not given this action (VOICE_RELAY_ACTIONS)"),
        ("Discord.Refused", "that failed"),
    ],
)
def test_refused_move_is_on_the_card(error: str, words: str) -> None:
    walked = walk(Later(7, press("admit")), Move=[TaskError(error, "Missing Permissions (50013)")])

    assert closed(walked)[1:] == [f"✅ Admitted by <@{MOLLY}> after 7 s", f"⚠️ But {words} (`{error}`)"]
    assert walked.output == {
        "outcome": "failed",
        "decision": "admitted",
        "error": error,
        "cause": "Missing Permissions (50013)",
        "by": MOLLY,
        "after_s": 7,
        "user": NELLY,
        "guild": GUILD,
        "message": CARD,
    }
    assert "AfterAdmission" not in walked.states


def test_declined_person_who_left_is_declined() -> None:
    walked = walk(
        press("decline"),
        parameters=PARAMETERS | {"decline": "disconnect"},
        Disconnect=[TaskError("Discord.NotInVoice")],
    )

    assert walked.output["outcome"] == "declined"


def test_refused_disconnect_is_on_the_card() -> None:
    walked = walk(
        press("decline"),
        parameters=PARAMETERS | {"decline": "disconnect"},
        Disconnect=[TaskError("Discord.MissingPermissions")],
    )

    assert (walked.output["outcome"], walked.output["decision"]) == ("failed", "declined")
    assert closed(walked)[1].startswith("⛔ Declined")


@pytest.mark.parametrize("error", ["Discord.UnknownMessage", "Discord.MissingAccess", "States.Timeout"])
def test_deleted_card_undoes_nothing(error: str) -> None:
    walked = walk(press("admit"), Move=[{}], CloseCard=[TaskError(error)])

    assert walked.output["outcome"] == "admitted"
    assert "AfterAdmission" in walked.states


@pytest.mark.parametrize(
    "error", ["Discord.UnknownChannel", "Discord.MissingAccess", "Discord.MissingPermissions"]
)
def test_unsent_card_fails_by_name(error: str) -> None:
    """In the task itself, which a redrive repeats."""
    with pytest.raises(TaskError, match=error):
        walk(SendCard=[TaskError(error)])


@pytest.mark.parametrize("missing", ["target_channel", "staff_channel"])
def test_missing_parameter_fails_by_name(missing: str) -> None:
    parameters = {key: value for key, value in PARAMETERS.items() if key != missing}
    with pytest.raises(Exception, match=f'the rule has no parameter "{missing}"'):
        walk(press("admit"), parameters=parameters)


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(NASTY) | st.text(max_size=32))
def test_no_name_shows(name: str) -> None:
    """What a user chose to be called changes nothing that is sent."""
    ways: list[tuple[Any, dict[str, Any]]] = [
        (press("decline"), {}),
        (press("admit"), {"Move": [TaskError("Discord.Refused", name)]}),
    ]
    for wait, answers in ways:
        plain = walk(wait, **copy.deepcopy(answers))
        named = walk(wait, name=name, **answers)
        assert named.tasks == plain.tasks


TASKS = {name: state for name, state in DEFINITION["States"].items() if state["Type"] == "Task"}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_bounded(name: str) -> None:
    task = TASKS[name]
    if "waitForTaskToken" in task["Resource"]:
        assert task["TimeoutSeconds"].startswith("{%")
    else:
        assert task["Resource"] == "${ActionsActivity}"
        assert task["HeartbeatSeconds"] < task["TimeoutSeconds"]


DAY_S = 86_400


def test_execution_outlasts_its_tasks() -> None:
    """The longest that a rule may ask for, and each action in trouble until its last retry."""
    actions = [task for task in TASKS.values() if "HeartbeatSeconds" in task]
    trouble_s = sum(
        (retry["MaxAttempts"] + 1) * task["TimeoutSeconds"] + retry["MaxAttempts"] * retry["MaxDelaySeconds"]
        for task in actions
        for retry in task["Retry"]
    )
    # A move and a disconnect exclude each other.
    assert DAY_S + trouble_s * 5 / 6 < DEFINITION["TimeoutSeconds"] < 2 * DAY_S


def test_temporary_errors_are_retried() -> None:
    for task in TASKS.values():
        if "HeartbeatSeconds" in task:
            (retry,) = task["Retry"]
            assert set(retry["ErrorEquals"]) == {
                "States.Timeout",
                "States.HeartbeatTimeout",
                "Discord.Unavailable",
                "Discord.RateLimited",
                "Action.NotWatched",
            }
            assert retry["JitterStrategy"] == "FULL"


def test_timed_out_wait_is_not_repeated() -> None:
    """Writing the token may be tried again; a wait that ran out is an answer."""
    for retry in TASKS["WaitForDecision"]["Retry"]:
        assert not {"States.ALL", "States.Timeout"} & set(retry["ErrorEquals"])

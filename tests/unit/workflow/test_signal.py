"""The signal workflow: who may send which signal, what happens once, and where the token goes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.workflow.walking import TaskError, Walked, Walker, read_definition

DEFINITION = read_definition("signal")
STATES = DEFINITION["States"]

NOW_S = 1_795_244_400
TOKEN = "a-token-that-stays-in-AWS"
ALICE = {"kind": "user", "id": "80351110224678912", "roles": ["5", "6"], "permissions": "0"}
RELAY, OPERATOR = {"kind": "relay"}, {"kind": "operator"}
REQUEST = {"name": "01JD", "signal": "admit", "data": {"note": "x"}, "by": ALICE}
GONE = ["Sfn.TaskDoesNotExistException", "Sfn.TaskTimedOutException", "Sfn.InvalidTokenException"]
# What AWS says of a request that it cannot read.
QUOTING = f"1 validation error detected: Value '{TOKEN}' at 'taskToken' failed to satisfy constraint"
# An answer that is not read, so it may be left over.
UNREAD = None


def row(rule: Any = None, *, token: str | None = TOKEN, decided: Any = None, **more: Any) -> dict[str, Any]:
    """Return getItem's result for a wait that takes admit by *rule*."""
    allow = {"admit": {"users": [ALICE["id"]]} if rule is None else rule}
    item = {
        "name": {"S": "01JD"},
        "allow": {"S": json.dumps(allow)},
        "expires_at": {"N": str(NOW_S + 60)},
        **({"token": {"S": token}} if token else {}),
        **({"decided": {"S": json.dumps(decided)}} if decided else {}),
        **more,
    }
    return {"Item": item}


class Watcher(Walker):
    """A walker that keeps every output of a state, with its input for the next."""

    def __init__(self) -> None:
        super().__init__(DEFINITION, now_ms=NOW_S * 1000)
        self.outputs: list[Any] = []

    def _leave(self, node: Any, bound: Any, default: Any) -> Any:
        left = super()._leave(node, bound, default)
        self.outputs.append(left[0])
        return left


def walk(request: Any, **answers: Sequence[Any]) -> Walked:
    watcher = Watcher()
    try:
        return watcher.walk(request, answers)
    finally:
        assert TOKEN not in json.dumps(watcher.outputs)


def sent(by: Any, rule: Any) -> bool:
    """Say whether *by* may send admit by *rule*."""
    walked = walk(REQUEST | {"by": by}, Find=[row(rule)], Send=[UNREAD], Note=[UNREAD])
    assert walked.output in ({"outcome": "signalled"}, {"outcome": "not_allowed"})
    assert ("Send" in walked.states) is (walked.output == {"outcome": "signalled"})
    return "Send" in walked.states


def test_signal_ends_the_wait_and_is_noted() -> None:
    walked = walk(REQUEST, Find=[row()], Send=[{}], Note=[{}])

    assert walked.output == {"outcome": "signalled"}
    assert walked.given("Find") == {
        "TableName": "${WaitsTable}",
        "Key": {"name": {"S": "01JD"}},
        "ConsistentRead": True,
    }
    assert walked.given("Send")["TaskToken"] == TOKEN
    result = json.loads(walked.given("Send")["Output"])
    by = {"kind": "user", "id": ALICE["id"]}
    assert result == {"signal": "admit", "data": {"note": "x"}, "by": by, "at": result["at"]}
    note = walked.given("Note")
    values = note["ExpressionAttributeValues"]
    assert values[":token"] == {"S": TOKEN}
    assert note["ConditionExpression"] == "#token = :token"
    assert json.loads(values[":decided"]["S"]) == {"signal": "admit", "by": by, "at": result["at"]}
    assert values[":expires_at"] == {"N": str(NOW_S + 86400)}


@pytest.mark.parametrize(
    ("by", "rule", "may"),
    [
        (ALICE, {"users": ["1", ALICE["id"]]}, True),
        (ALICE, {"users": ["1"]}, False),
        (ALICE, {"users": []}, False),
        (ALICE, {"roles": ["6"]}, True),
        (ALICE, {"roles": ["7", "8"]}, False),
        ({**ALICE, "roles": []}, {"roles": ["7"]}, False),
        ({"kind": "user", "id": "9"}, {"roles": ["7"], "permissions": "8"}, False),
        # A role's id is no user's.
        ({**ALICE, "id": "7"}, {"roles": ["7"]}, False),
        (ALICE, {"relay": True, "operator": True}, False),
        (RELAY, {"relay": True}, True),
        (RELAY, {"relay": False}, False),
        (RELAY, {"relay": "yes"}, False),
        (RELAY, {"users": [ALICE["id"]], "operator": True}, False),
        (OPERATOR, {"operator": True}, True),
        (OPERATOR, {"relay": True}, False),
        ({**OPERATOR, "id": ALICE["id"]}, {"users": [ALICE["id"]]}, False),
        (ALICE, {}, False),
        (ALICE, True, False),
    ],
)
def test_rule_decides_about_sender(by: Any, rule: Any, may: bool) -> None:
    assert sent(by, rule) is may


@pytest.mark.parametrize(("channel", "may"), [("127121515262115850", True), ("2", False), (None, False)])
def test_permissions_count_in_their_channel(channel: str | None, may: bool) -> None:
    """Or an administrator of another server could decide, if a button of that server led here."""
    by = {"kind": "user", "id": "9", "permissions": "8", **({"channel": channel} if channel else {})}

    assert sent(by, {"permissions": "16777216", "channel": "127121515262115850"}) is may
    # Roles and users are the same everywhere.
    assert sent(by, {"users": ["9"], "channel": "127121515262115850"})


def test_unknown_signal_is_not_allowed() -> None:
    assert walk(REQUEST | {"signal": "dance"}, Find=[row()]).output == {"outcome": "not_allowed"}


@pytest.mark.parametrize(
    ("has", "wants", "may"),
    [
        ("16777216", "16777216", True),
        ("16777216", "33554432", False),
        (str(1 << 40), str(1 << 40 | 1 << 2), True),
        (str(1 << 52 | 1), str(1 << 52), True),
        (str(1 << 63), str(1 << 63), True),
        (str(1 << 63), str(1 << 62), False),
        ("8", str(1 << 40), True),
        ("8", "0", False),
        ("8", "000", False),
        ("8", "", False),
        ("8", 8, False),
        ("0x8", "8", False),
        (None, "8", False),
        ("8", None, False),
    ],
)
def test_any_of_the_permissions_is_enough(has: Any, wants: Any, may: bool) -> None:
    """Bit 3 is the administrator's, who has all of them, but only where permissions decide."""
    assert sent({**ALICE, "permissions": has}, {"permissions": wants}) is may


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
@example(2**64 - 1, 2**63)
@example(2**17, 2**17)
@example(2**53, 2**53 + 1)
def test_permissions_are_compared_bit_by_bit(has: int, wants: int) -> None:
    may = wants != 0 and bool(has & (wants | 8))

    assert sent({**ALICE, "permissions": str(has)}, {"permissions": str(wants)}) is may


def test_later_sender_is_told_the_decision() -> None:
    decided = {"signal": "decline", "by": {"kind": "user", "id": "9"}, "at": "2026-11-21T07:00:00.000Z"}

    walked = walk(REQUEST, Find=[row(token=None, decided=decided)])

    assert walked.output == {"outcome": "already_decided", **decided}


def test_stranger_is_not_told_the_decision() -> None:
    decided = {"signal": "decline", "by": {"kind": "relay"}, "at": "2026-11-21T07:00:00.000Z"}

    walked = walk(REQUEST, Find=[row({"users": ["1"]}, token=None, decided=decided)])

    assert walked.output == {"outcome": "not_allowed"}


@pytest.mark.parametrize("found", [{}, row(expires_at={"N": str(NOW_S)}), row(expires_at={"N": "0"})])
def test_absent_and_expired_rows_wait_for_nothing(found: Any) -> None:
    """DynamoDB deletes an expired row only days later."""
    assert walk(REQUEST, Find=[found]).output == {"outcome": "not_waiting"}


def test_row_without_expiry_waits() -> None:
    found = row()
    del found["Item"]["expires_at"]

    assert walk(REQUEST, Find=[found], Send=[{}], Note=[{}]).output == {"outcome": "signalled"}


@pytest.mark.parametrize("error", GONE)
def test_slower_of_two_is_told_who_was_faster(error: str) -> None:
    """The faster one's note may take a moment."""
    decided = {"signal": "decline", "by": {"kind": "relay"}, "at": "2026-11-21T07:00:00.000Z"}

    walked = walk(
        REQUEST,
        Find=[row(), row(), row(token=None, decided=decided)],
        Send=[TaskError(error, QUOTING)],
    )

    assert walked.output == {"outcome": "already_decided", **decided}
    assert walked.states.count("Pause") == 1


@pytest.mark.parametrize("later", [row(), row(token="another"), {}])
def test_used_token_is_tried_once(later: Any) -> None:
    """A signal for a wait that is over answers no other wait of the same execution."""
    finds = [row(), later, *([later] * 3 if later else [])]

    walked = walk(REQUEST, Find=finds, Send=[TaskError(GONE[1])])

    assert walked.output == {"outcome": "not_waiting"}
    assert walked.states.count("Send") == 1


@pytest.mark.parametrize("error", ["DynamoDb.ConditionalCheckFailedException", "States.Timeout"])
def test_signal_counts_without_its_note(error: str) -> None:
    """The execution has replaced the wait, or the table did not answer: it goes on all the same."""
    walked = walk(REQUEST, Find=[row()], Send=[{}], Note=[TaskError(error, QUOTING)])

    assert walked.output == {"outcome": "signalled"}


@pytest.mark.parametrize("error", ["Sfn.SfnException", "States.Timeout", "Sfn.InvalidOutputException"])
def test_failure_to_send_quotes_no_cause(error: str) -> None:
    with pytest.raises(TaskError) as caught:
        walk(REQUEST, Find=[row()], Send=[TaskError(error, QUOTING)])

    assert caught.value.error == "SignalNotSent"
    assert caught.value.cause == f"cannot signal execution 01JD: {error}"


def test_unreadable_wait_is_explained() -> None:
    denied = TaskError("DynamoDb.DynamoDbException", "User: x is not authorized to perform: dynamodb:GetItem")

    with pytest.raises(TaskError) as caught:
        walk(REQUEST, Find=[denied])

    assert caught.value.error == "WaitNotReadable"
    assert "execution 01JD: DynamoDb.DynamoDbException: User: x is not authorized" in caught.value.cause


def test_invalid_wait_quotes_no_value() -> None:
    """The value of an expression that failed may be the row."""
    with pytest.raises(TaskError) as caught:
        walk(REQUEST, Find=[TaskError("States.QueryEvaluationError", QUOTING)])

    assert caught.value.error == "WaitInvalid"
    assert "execution 01JD waits with" in caught.value.cause
    assert TOKEN not in caught.value.cause


@pytest.mark.parametrize(
    ("request_", "cause"),
    [
        ([], "the body must be an object"),
        ("01JD", "the body must be an object"),
        (None, "the body must be an object"),
        ({}, "name must be the name of an execution, a string of 1 to 80 characters"),
        (REQUEST | {"name": ""}, "name must be"),
        (REQUEST | {"name": "x" * 81}, "name must be"),
        (REQUEST | {"name": 7}, "name must be"),
        (REQUEST | {"name": ["01JD"]}, "name must be"),
        (REQUEST | {"name": None}, "name must be"),
        (REQUEST | {"signal": ""}, "signal must be a string of 1 to 40 characters"),
        (REQUEST | {"signal": "x" * 41}, "signal must be"),
        (REQUEST | {"by": "relay"}, "by.kind must be user, relay or operator"),
        (REQUEST | {"by": {}}, "by.kind must be"),
        (REQUEST | {"by": {"kind": "admin"}}, "by.kind must be"),
        (REQUEST | {"by": {"kind": ["user"]}}, "by.kind must be"),
        (REQUEST | {"by": {"kind": "user"}}, "by.id must be the id of a user, as a string"),
        (REQUEST | {"by": {"kind": "user", "id": 8}}, "by.id must be"),
        (REQUEST | {"data": []}, "data must be an object"),
        (REQUEST | {"data": "x"}, "data must be an object"),
        (REQUEST | {"data": {"x": "y" * 32_000}}, "data must have at most 32000 characters as JSON"),
    ],
)  # fmt: skip
def test_bad_request_is_named(request_: Any, cause: str) -> None:
    with pytest.raises(TaskError) as caught:
        walk(request_)

    assert caught.value.error == "InvalidSignal"
    assert caught.value.cause.startswith(cause)


_LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "8", "user", "relay"])
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "id", "x"]), inner),
    max_leaves=5,
)


@given(_VALUES | st.fixed_dictionaries({}, optional=dict.fromkeys(REQUEST, _VALUES)))
def test_any_request_gets_an_answer(request_: Any) -> None:
    try:
        output = walk(request_, Find=[UNREAD]).output
    except TaskError as error:
        output = error.error
    assert output in ({"outcome": "not_waiting"}, "InvalidSignal")


@given(st.dictionaries(st.sampled_from(["users", "roles", "permissions", "relay", "operator"]), _VALUES))
def test_any_rule_is_decided(rule: Mapping[str, Any]) -> None:
    for by in (ALICE, RELAY, OPERATOR):
        assert sent(by, rule) in (True, False)


def test_data_is_optional() -> None:
    request = {name: value for name, value in REQUEST.items() if name != "data"}

    walked = walk(request, Find=[row()], Send=[{}], Note=[{}])

    assert json.loads(walked.given("Send")["Output"])["data"] == {}


def test_token_is_given_to_two_tasks_only() -> None:
    walked = walk(REQUEST, Find=[row()], Send=[{}], Note=[{}])

    assert [state for state, given in walked.tasks if TOKEN in json.dumps(given)] == ["Send", "Note"]


@pytest.mark.parametrize("state", ["Find", "Send", "Note"])
def test_transient_errors_are_retried(state: str) -> None:
    """What the API's 30 seconds leave room for; a signal that was sent is not sent again."""
    *final, again = STATES[state]["Retry"]

    assert again["ErrorEquals"] == ["States.TaskFailed", "States.Timeout"]
    assert again["MaxAttempts"] > 0
    assert {rule["MaxAttempts"] for rule in final} == {0}
    assert DEFINITION["TimeoutSeconds"] < 29
    if state == "Send":
        assert set(GONE) <= set(final[0]["ErrorEquals"])

"""Signals through the ingress: who may send them, what they do once, and what a late one is told."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import NOBODY, Relay, Webhook, new_relay, send, unique
from tests.integration.infra.waiting import ADMIT, ALICE, failure, outcome, send_signal, start_waiting

FORBIDDEN = (403, b'{"message":"Forbidden"}')
ALICE_HERSELF = {"kind": "user", "id": ALICE["id"]}
BOB = {"kind": "user", "id": "41771983423143937", "roles": ["7"], "permissions": str(1 << 24)}
RELAY = {"kind": "relay"}


@pytest.fixture(scope="module")
def other(aws: EmbeddedAws) -> Iterator[Relay]:
    """Another stack in the same account."""
    with Webhook() as webhook:
        yield new_relay(aws, webhook)


@pytest.fixture(scope="module")
def paced() -> Iterator[Relay]:
    """A relay whose workflows wait as long as they say."""
    with EmbeddedAws() as aws, Webhook() as webhook:
        yield new_relay(aws, webhook)


def test_signal_ends_the_wait(relay: Relay) -> None:
    waiting = start_waiting(relay)

    assert outcome(waiting.signal(data={"note": "welcome"})) == {"outcome": "signalled"}

    result = waiting.output()
    assert result.pop("at").endswith("Z")
    assert result == {"signal": "admit", "data": {"note": "welcome"}, "by": ALICE_HERSELF}


def test_only_the_bot_may_signal(relay: Relay, other: Relay) -> None:
    """Not an operator, not another stack's bot, and not without a signature."""
    waiting = start_waiting(relay)
    body = json.dumps({"name": waiting.name, "signal": "admit", "by": ALICE}).encode()

    refused = [waiting.signal(who=who) for who in (relay.operator, other.bot, NOBODY)]
    refused.append(send(relay.url("/executions/signal"), {}, body))

    assert {(answer.status, answer.body) for answer in refused[:2]} == {FORBIDDEN}
    assert {answer.status for answer in refused} == {403}
    assert outcome(waiting.signal()) == {"outcome": "signalled"}


@pytest.mark.parametrize(
    ("rule", "by"),
    [
        ({"users": [ALICE["id"]]}, BOB),
        ({"roles": ["8"]}, BOB),
        ({"permissions": str(1 << 40)}, BOB),
        ({"users": [BOB["id"]], "roles": ["7"]}, RELAY),
        ({"relay": True}, {"kind": "operator"}),
    ],
)
def test_wrong_sender_changes_nothing(rule: Any, by: Any, relay: Relay) -> None:
    waiting = start_waiting(relay, {**ADMIT, "decline": rule})
    before = waiting.row()

    assert outcome(waiting.signal("decline", by)) == {"outcome": "not_allowed"}

    assert waiting.row() == before
    assert outcome(waiting.signal()) == {"outcome": "signalled"}


@pytest.mark.parametrize(
    ("rule", "by"),
    [
        ({"roles": ["6", "7"]}, BOB),
        ({"permissions": str(1 << 24 | 1 << 40)}, BOB),
        ({"permissions": str(1 << 63)}, {**BOB, "permissions": str(1 << 63 | 1)}),
        ({"permissions": str(1 << 40)}, {**BOB, "permissions": "8"}),
        ({"relay": True}, RELAY),
        ({"operator": True}, {"kind": "operator"}),
    ],
)
def test_right_sender_is_let_through(rule: Any, by: Any, relay: Relay) -> None:
    waiting = start_waiting(relay, {"admit": rule})

    assert outcome(waiting.signal(by=by)) == {"outcome": "signalled"}
    assert waiting.output()["by"]["kind"] == by["kind"]


def test_unknown_signal_is_not_allowed(relay: Relay) -> None:
    waiting = start_waiting(relay)

    assert outcome(waiting.signal("dance")) == {"outcome": "not_allowed"}
    assert outcome(waiting.signal()) == {"outcome": "signalled"}


def test_second_signal_learns_of_the_first(relay: Relay) -> None:
    waiting = start_waiting(relay, {**ADMIT, "withdraw": {"relay": True}})

    assert outcome(waiting.signal()) == {"outcome": "signalled"}
    decided = outcome(waiting.signal())
    late = outcome(waiting.signal("withdraw", RELAY))

    at = waiting.output()["at"]
    assert decided == late == {"outcome": "already_decided", "signal": "admit", "by": ALICE_HERSELF, "at": at}


def test_one_of_two_at_once_wins(paced: Relay) -> None:
    """The other one hears who was faster, and the execution goes on with one of them."""
    rule = {"users": [ALICE["id"], BOB["id"]]}
    for _ in range(10):
        waiting = start_waiting(paced, {"admit": rule, "decline": rule})
        with ThreadPoolExecutor(2) as pool:
            signals = [pool.submit(waiting.signal, *each) for each in (("admit", ALICE), ("decline", BOB))]
            told = [outcome(each.result()) for each in signals]

        result = waiting.output()
        assert sorted(each["outcome"] for each in told) == ["already_decided", "signalled"]
        (late,) = (each for each in told if each["outcome"] == "already_decided")
        assert {key: late[key] for key in ("signal", "by", "at")} == {
            key: result[key] for key in ("signal", "by", "at")
        }
        winner = "admit" if told[0]["outcome"] == "signalled" else "decline"
        assert result["signal"] == winner


def test_same_signal_at_once_goes_on_once(paced: Relay) -> None:
    waiting = start_waiting(paced)

    with ThreadPoolExecutor(4) as pool:
        told = [outcome(answer) for answer in pool.map(lambda _: waiting.signal(), range(4))]

    assert sorted(each["outcome"] for each in told) == [*["already_decided"] * 3, "signalled"]


def test_time_out_ends_the_wait(relay: Relay) -> None:
    waiting = start_waiting(relay, timeout_s=1)
    ended = waiting.finished()

    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    assert "token" in waiting.row()
    assert outcome(waiting.signal()) == {"outcome": "not_waiting"}


def test_stopped_execution_waits_no_more(relay: Relay) -> None:
    waiting = start_waiting(relay)
    relay.aws.client("stepfunctions").stop_execution(executionArn=waiting.arn)

    assert outcome(waiting.signal()) == {"outcome": "not_waiting"}
    assert waiting.finished()["status"] == "ABORTED"


def test_signal_before_the_wait_changes_nothing(relay: Relay) -> None:
    name = unique("early")

    early = send_signal(relay, {"name": name, "signal": "admit", "by": ALICE})
    waiting = start_waiting(relay, name=name)

    assert outcome(early) == {"outcome": "not_waiting"}
    assert outcome(waiting.signal()) == {"outcome": "signalled"}


def test_other_stacks_execution_is_out_of_reach(relay: Relay, other: Relay) -> None:
    waiting = start_waiting(other)
    before = waiting.row()

    answer = send_signal(relay, {"name": waiting.name, "signal": "admit", "by": ALICE})

    assert outcome(answer) == {"outcome": "not_waiting"}
    assert waiting.row() == before
    assert outcome(waiting.signal()) == {"outcome": "signalled"}


def test_next_wait_is_a_wait_of_its_own(relay: Relay) -> None:
    """The decision about the first is not written over the second."""
    waiting = start_waiting(relay, ADMIT, {"leave": {"relay": True}})
    first = waiting.until_token_changes()

    assert outcome(waiting.signal()) == {"outcome": "signalled"}
    waiting.until_token_changes(first)

    assert "decided" not in waiting.row()
    assert outcome(waiting.signal()) == {"outcome": "not_allowed"}
    assert outcome(waiting.signal("leave", RELAY)) == {"outcome": "signalled"}
    assert waiting.output()["signal"] == "leave"


@pytest.mark.parametrize("allow", ["{", "admit", ""])
def test_wait_that_cannot_be_read_is_named(allow: str, relay: Relay) -> None:
    waiting = start_waiting(relay, allow or "[", timeout_s=1)

    error, cause = failure(waiting.signal())

    assert error == "WaitInvalid"
    assert cause.startswith(f'execution {waiting.name} waits with an "allow" that is not JSON')


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ({"signal": "admit", "by": ALICE}, "name must be the name of an execution"),
        ({"name": "x" * 3000, "signal": "admit", "by": ALICE}, "name must be the name of an execution"),
        ({"name": 7, "signal": "admit", "by": ALICE}, "name must be the name of an execution"),
        ({"name": "x", "signal": "admit"}, "by.kind must be user, relay or operator"),
        ([], "the body must be an object"),
    ],
)
def test_bad_request_is_named(body: Any, cause: str, relay: Relay) -> None:
    error, said = failure(send_signal(relay, body))

    assert error == "InvalidSignal"
    assert said.startswith(cause)


def test_body_that_is_no_json_is_refused(relay: Relay) -> None:
    answer = relay.post(relay.url("/executions/signal"), b"{")

    assert answer.status == 400
    assert answer.json()["__type"].endswith("InvalidExecutionInput")


def test_token_stays_in_aws(relay: Relay) -> None:
    """It is in no answer, row, result, log or execution that somebody may read afterwards."""
    waiting = start_waiting(relay)
    token = waiting.until_token_changes()
    client, logs = relay.aws.client("stepfunctions"), relay.aws.client("logs")

    answers = [waiting.signal("dance"), waiting.signal(by=BOB), waiting.signal(), waiting.signal()]
    ended = waiting.finished()

    seen = [answer.body.decode() for answer in answers]
    seen += [str(answer.headers) for answer in answers]
    seen += [json.dumps(waiting.row()), json.dumps(ended, default=str)]
    seen += [
        json.dumps(event)
        for group in logs.get_paginator("describe_log_groups").paginate().build_full_result()["logGroups"]
        for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]
    ]
    runs = client.list_executions(stateMachineArn=relay.outputs["SignalStateMachineArn"])["executions"]
    assert [outcome(answer)["outcome"] for answer in answers] == [
        "not_allowed",
        "not_allowed",
        "signalled",
        "already_decided",
    ]
    assert not any(token in text for text in seen)
    assert runs == []

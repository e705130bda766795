"""The report workflow and those that renew its token: keys, bodies, retries, and who fetches a token when."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonata.jsonata import Jsonata

from workflow.registry import WORKFLOWS

Evaluate = Callable[..., Any]

RENEWAL = "arn:aws:states:us-east-1:123456789012:stateMachine:relay-crm-refresh"
CONNECTION = "arn:aws:events:us-east-1:123456789012:connection/relay-crm/81210c42"
GUILD = {"id": "41771983423143937", "name": "Base"}
LEFT: dict[str, Any] = {
    "id": "01JD0000000000000000000000",
    "type": "discord.voice.left",
    "time": "2026-11-21T07:00:00.123Z",
    "data": {
        "guild": GUILD,
        "user": {"id": "80351110224678912", "name": "nelly", "display_name": "Nelly"},
        "channel": None,
        "previous_channel": {"id": "127121515262115840", "name": "General"},
        "occupants": 0,
        "duration_s": 4320.5,
        "inferred": False,
    },
}
GAP: dict[str, Any] = {
    "id": "01JD0000000000000000000001",
    "type": "discord.voice.gap",
    "time": "2026-11-21T07:00:00.123Z",
    "data": {"guild": GUILD, "from": None, "until": "2026-11-21T07:00:00.123Z", "reason": "restart"},
}


def _states(name: str, **substitutions: str) -> dict[str, Any]:
    text = WORKFLOWS[name].definition.read_text(encoding="utf-8")
    for key, value in substitutions.items():
        text = text.replace("${" + key + "}", value)
    found: dict[str, Any] = json.loads(text)["States"]
    return found


REPORT = _states("report", Renewal=RENEWAL, ConnectionArn=CONNECTION)
LOGIN = _states("login", TokenField="data.token", TokenPrefix="Bearer ")
REFRESH = _states("refresh")


def _told(evaluate: Evaluate, *events: Any, **parameters: Any) -> tuple[str, Any]:
    """The key and the body of the call."""
    execution = {"id": "01JE", "destination": "default", "parameters": parameters, "events": list(events)}
    arguments = REPORT["LastCall"]["Arguments"]
    filled = evaluate(arguments, execution=execution)
    return filled["Headers"]["Idempotency-Key"], filled["RequestBody"]


def test_event_is_sent_as_it_is(evaluate: Evaluate) -> None:
    assert _told(evaluate, LEFT) == (LEFT["id"], LEFT)


def test_flat_leaves_out_what_is_unknown(evaluate: Evaluate) -> None:
    _, body = _told(evaluate, LEFT, format="flat")

    assert body == {
        "id": LEFT["id"],
        "type": "discord.voice.left",
        "time": "2026-11-21T07:00:00.123Z",
        "guild_id": "41771983423143937",
        "guild_name": "Base",
        "user_id": "80351110224678912",
        "user_name": "Nelly",
        "previous_channel_id": "127121515262115840",
        "previous_channel_name": "General",
        "occupants": 0,
        "duration_s": 4320.5,
        "inferred": False,
    }


def test_flat_gap_says_when_and_why(evaluate: Evaluate) -> None:
    _, body = _told(evaluate, GAP, format="flat")

    assert (body["until"], body["reason"], "from" in body) == ("2026-11-21T07:00:00.123Z", "restart", False)


def test_fields_yield_to_the_event(evaluate: Evaluate) -> None:
    _, body = _told(evaluate, LEFT, fields={"list": "42", "type": "mine"})

    assert (body["list"], body["type"]) == ("42", "discord.voice.left")


def test_batch_has_a_key_of_its_own(evaluate: Evaluate) -> None:
    """Its first event, sent alone after the batch was refused, has another body and needs another key."""
    key, body = _told(evaluate, LEFT, GAP, LEFT)

    assert (key, body) == (f"{LEFT['id']}+2", [LEFT, GAP, LEFT])


def test_both_calls_are_the_same() -> None:
    same = ("Resource", "Arguments", "Retry", "Output", "TimeoutSeconds")

    assert {key: REPORT["Call"][key] for key in same} == {key: REPORT["LastCall"][key] for key in same}


def test_last_call_fails_by_itself() -> None:
    """What fails in a Fail state cannot be redriven, and every way ends in this call."""
    assert "Catch" not in REPORT["LastCall"]
    assert "Fail" not in {state["Type"] for state in REPORT.values()}


def _retried(state: dict[str, Any]) -> Iterator[str]:
    for retrier in state.get("Retry", ()):
        if retrier["MaxAttempts"] > 0:
            yield from retrier["ErrorEquals"]


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 405, 406, 407, 410, 411, 413, 414, 415, 422, 451]
)
def test_refusals_are_not_repeated(status: int) -> None:
    assert f"States.Http.StatusCode.{status}" not in set(_retried(REPORT["LastCall"]))


def test_deauthorised_connection_gets_half_a_minute() -> None:
    """A rejection that arrives after the renewal deauthorises the connection until it is renewed again."""
    name = "Events.ConnectionResource.InvalidConnectionState"
    (retrier,) = [each for each in REPORT["LastCall"]["Retry"] if name in each["ErrorEquals"]]
    waits = [retrier["IntervalSeconds"] * retrier["BackoffRate"] ** n for n in range(retrier["MaxAttempts"])]

    assert sum(waits) == 30


@pytest.mark.parametrize("states", [REPORT, LOGIN, REFRESH], ids=["report", "login", "refresh"])
def test_retries_are_by_kind_with_jitter(states: dict[str, Any]) -> None:
    """Never everything, which would repeat refusals, and never all executions at once."""
    retriers = [retrier for state in states.values() for retrier in state.get("Retry", ())]

    assert retriers
    assert all(retrier["JitterStrategy"] == "FULL" for retrier in retriers)
    assert not {"States.ALL", "States.TaskFailed"} & {
        name for each in retriers for name in each["ErrorEquals"]
    }


def _looked(**more: Any) -> dict[str, Any]:
    """The output of Look."""
    return {
        "called_at": "2026-11-21T07:00:00.500Z",
        "looks": 1,
        "state": "DEAUTHORIZED",
        "authorized_at": "2026-11-21T06:00:00.000Z",
        **more,
    }


def _chosen(states: dict[str, Any], name: str, input_: dict[str, Any]) -> str:
    for choice in states[name]["Choices"]:
        expression = choice["Condition"][2:-2].strip()
        if Jsonata.jsonata(expression).evaluate(None, {"states": {"input": input_}}) is True:
            return str(choice["Next"])
    return str(states[name]["Default"])


@pytest.mark.parametrize(
    ("looked", "next_state"),
    [
        ({}, "Refresh"),
        ({"authorized_at": ""}, "Refresh"),
        ({"state": "AUTHORIZED"}, "Refresh"),
        ({"state": "AUTHORIZED", "authorized_at": "2026-11-21T07:00:00.600Z"}, "LastCall"),
        ({"state": "AUTHORIZING", "authorized_at": "2026-11-21T07:00:00.600Z"}, "WaitForConnection"),
        ({"state": "UPDATING"}, "WaitForConnection"),
        ({"state": "UPDATING", "looks": 30}, "LastCall"),
    ],
)
def test_token_is_renewed_once(looked: dict[str, Any], next_state: str) -> None:
    """Not if another execution has renewed it since this one's call."""
    assert _chosen(REPORT, "IsRenewed", _looked(**looked)) == next_state


@pytest.mark.parametrize(
    ("looked", "next_state"),
    [
        ({"state": "AUTHORIZING"}, "WaitForConnection"),
        ({"state": "AUTHORIZED"}, "WaitForConnection"),
        ({"state": "AUTHORIZED", "authorized_at": "2026-11-21T07:00:00.600Z"}, "LastCall"),
        ({"state": "DEAUTHORIZED"}, "LastCall"),
    ],
)
def test_oauth_renews_by_itself(looked: dict[str, Any], next_state: str) -> None:
    states = _states("report", Renewal="oauth", ConnectionArn=CONNECTION)

    assert _chosen(states, "IsRenewed", _looked(**looked)) == next_state


@pytest.mark.parametrize(("renewal", "first"), [(RENEWAL, "Call"), ("oauth", "Call"), ("none", "LastCall")])
def test_only_tokens_are_renewed(renewal: str, first: str) -> None:
    assert _chosen(_states("report", Renewal=renewal), "CanRenew", {}) == first


def _refreshed(field: str, input_: dict[str, Any], entered: str, **execution: Any) -> Any:
    """A field of the state Refresh, entered at that time."""
    expression = REPORT["Refresh"]
    for key in field.split("."):
        expression = expression[key]
    context = {"State": {"EnteredTime": entered}, "Execution": execution}
    return Jsonata.jsonata(str(expression)[2:-2].strip()).evaluate(
        None, {"states": {"input": input_, "context": context}}
    )


def test_refresh_is_named_for_token_and_minute() -> None:
    """So executions share it that find the same token expired, and a failed one blocks no later one."""
    name = _refreshed("Arguments.Name", _looked(), "2026-11-21T07:00:01.000Z")

    assert name == "20261121060000000202611210700"
    assert _refreshed("Arguments.Name", _looked(), "2026-11-21T07:00:59.999Z") == name
    assert _refreshed("Arguments.Name", _looked(), "2026-11-21T07:01:00.000Z") != name
    other = _looked(authorized_at="2026-11-21T06:00:00.001Z")
    assert _refreshed("Arguments.Name", other, "2026-11-21T07:00:01.000Z") != name
    started = _refreshed("Output", _looked(), "2026-11-21T07:00:01.000Z")
    assert started["refresh"] == f"{RENEWAL.replace(':stateMachine:', ':execution:')}:{name}"


def test_failed_refresh_starts_again_on_redrive() -> None:
    """Where it has failed, so has this state; its repetition by a redrive is a new start."""
    failed = _looked(status="FAILED", failure="login at https://x: 403", redrives=0)

    with pytest.raises(Exception, match="login at https://x: 403"):
        _refreshed("Arguments.Name", failed, "2026-11-21T07:00:01.000Z")
    assert _refreshed("Arguments.Name", failed, "2026-11-21T08:00:01.000Z", RedriveCount=1)


@pytest.mark.parametrize(
    ("status", "next_state"),
    [
        ("RUNNING", "WaitForRefresh"),
        ("SUCCEEDED", "LastCall"),
        ("FAILED", "Refresh"),
        ("TIMED_OUT", "Refresh"),
    ],
)
def test_refresh_is_awaited(status: str, next_state: str) -> None:
    assert _chosen(REPORT, "IsRefreshed", {"status": status}) == next_state


@pytest.mark.parametrize(
    ("error", "tries", "next_state"),
    [
        ("States.Http.StatusCode.503", 1, "WaitForApi"),
        ("States.Http.StatusCode.429", 29, "WaitForApi"),
        ("States.Http.StatusCode.503", 30, "NotRefreshed"),
        ("States.Http.Socket", 1, "WaitForApi"),
        ("States.Http.StatusCode.401", 1, "NotRefreshed"),
        ("States.Http.StatusCode.403", 1, "NotRefreshed"),
        ("NoToken", 1, "NotRefreshed"),
    ],
)
def test_refused_login_is_not_repeated(error: str, tries: int, next_state: str) -> None:
    """Some APIs lock an account after a few."""
    failed = {"status": "FAILED", "error": error, "tries": tries}

    assert _chosen(REFRESH, "HasWorked", failed) == next_state


@pytest.mark.parametrize(
    ("body", "next_state"),
    [
        ({"data": {"token": "t0ken"}}, "Update"),
        ({"data": {"token": ""}}, "NoToken"),
        ({"data": {"token": 1}}, "NoToken"),
        ({"data": {}}, "NoToken"),
        ({"token": "t0ken"}, "NoToken"),
        ("not JSON", "NoToken"),
        ("", "NoToken"),
    ],
)
def test_token_is_found_by_its_path(body: Any, next_state: str) -> None:
    expression = LOGIN["LogIn"]["Output"][2:-2].strip()
    result = {"ResponseBody": body}
    output: Any = Jsonata.jsonata(expression).evaluate(None, {"states": {"result": result}})

    assert _chosen(LOGIN, "HasToken", output) == next_state


def test_login_tells_no_answer(evaluate: Evaluate) -> None:
    """Of a failed login only the error's name is told: the answer's words can repeat the password."""
    caught = LOGIN["LogIn"]["Catch"][0]
    assert caught["ErrorEquals"] == ["States.ALL"]
    told = evaluate(caught["Output"], errorOutput={"Error": "States.Http.StatusCode.403", "Cause": "s3cret"})

    assert told == {"error": "States.Http.StatusCode.403"}
    for name in ("LoginFailed", "NoToken", "NotAuthorized"):
        assert "token'" not in LOGIN[name]["Cause"]

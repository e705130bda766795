"""The state machine around the message: what is retried, waited out and given up, and what that costs."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

States = dict[str, Any]
Evaluate = Callable[..., Any]

SPELLINGS = ("ApiGateway", "APIGateway")
REFUSED = (400, 401, 403, 404, 405, 406, 410, 411, 413, 414, 415, 422, 431)
UNAVAILABLE = (500, 502, 503, 504)

# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_HISTORY_EVENTS = 25_000


def _matches(rule: dict[str, Any], error: str) -> bool:
    """How an error name meets ErrorEquals in the Amazon States Language."""
    return any(
        name in (error, "States.ALL") or (name == "States.TaskFailed" and error != "States.Timeout")
        for name in rule["ErrorEquals"]
    )


def _retries(states: States, error: str) -> int:
    first = next((rule for rule in states["Post"]["Retry"] if _matches(rule, error)), None)
    return first["MaxAttempts"] if first else 0


def _caught(states: States, error: str) -> str | None:
    """The state that an error leads to; none for one that fails the task, and with it the execution."""
    return next((str(rule["Next"]) for rule in states["Post"]["Catch"] if _matches(rule, error)), None)


def _next_states(state: dict[str, Any]) -> Iterator[str]:
    for rule in (state, *state.get("Catch", ())):
        if "Next" in rule:
            yield rule["Next"]


def test_common_case_is_one_task(text: str, states: States) -> None:
    """Start, Post, end: one state is entered, so one transition is billed."""
    machine = json.loads(text)
    assert machine["QueryLanguage"] == "JSONata"
    assert states[machine["StartAt"]]["Type"] == "Task"
    assert states[machine["StartAt"]]["End"] is True


def test_states_are_reachable(states: States) -> None:
    seen, ahead = set(), ["Post"]
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += _next_states(states[name])
    assert seen == states.keys()


def test_only_the_task_can_fail(states: States) -> None:
    """A redrive repeats the state that failed: a Fail state would only fail again, and post nothing."""
    # https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
    assert {name: state["Type"] for name, state in states.items()} == {
        "Post": "Task",
        "WaitForDiscord": "Wait",
    }


def test_task_calls_proxy_as_role(states: States, evaluate: Evaluate) -> None:
    post = states["Post"]
    assert post["Resource"] == "arn:${Partition}:states:::apigateway:invoke"
    arguments = evaluate(post["Arguments"], execution={"id": "01JD", "destination": "ops", "events": []})
    assert arguments.pop("RequestBody")
    assert arguments == {
        "ApiEndpoint": "${WebhookProxyHost}",
        "Method": "POST",
        "Path": "/destinations/ops",
        "AuthType": "IAM_ROLE",
        "Headers": {"Content-Type": ["application/json"]},
    }


def test_destination_is_encoded_in_path(states: States, evaluate: Evaluate) -> None:
    path = states["Post"]["Arguments"]["Path"]
    assert evaluate(path, execution={"destination": "a/../b?c#d"}) == "/destinations/a%2F..%2Fb%3Fc%23d"


def test_output_counts_posted_events(states: States, evaluate: Evaluate) -> None:
    """Neither the answer's body, which AWS leaves undefined for a 204, nor its headers are read."""
    output = states["Post"]["Output"]
    assert evaluate(output, execution={"events": [{"type": "x"}]}, result=None) == {"posted": 1}
    assert evaluate(output, execution={"events": [{}, {}]}, result=None) == {"posted": 2}


@pytest.mark.parametrize("spelling", SPELLINGS)
class TestErrors:
    """AWS writes ``ApiGateway.404``, some of its pages ``APIGateway.404``."""

    @pytest.mark.parametrize("status", REFUSED)
    def test_refusal_fails_at_once(self, status: int, spelling: str, states: States) -> None:
        error = f"{spelling}.{status}"
        assert _retries(states, error) == 0
        assert _caught(states, error) is None

    def test_throttle_is_waited_out(self, spelling: str, states: States) -> None:
        error = f"{spelling}.429"
        assert _retries(states, error) == 0
        assert _caught(states, error) == "WaitForDiscord"
        assert states["WaitForDiscord"]["Next"] == "Post"

    @pytest.mark.parametrize(
        "status", [*UNAVAILABLE, 408, 520, "SdkClientException", "SocketTimeoutException"]
    )
    def test_temporary_errors_are_retried(self, status: int | str, spelling: str, states: States) -> None:
        error = f"{spelling}.{status}"
        assert _retries(states, error) == 30
        assert _caught(states, error) is None


def test_slow_task_is_retried(states: States) -> None:
    """States.TaskFailed does not match States.Timeout, so that one must stand in the list itself."""
    assert _retries(states, "States.Timeout") == 30
    assert _caught(states, "States.Timeout") is None
    # API Gateway itself answers within 30 s, https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
    assert 30 < states["Post"]["TimeoutSeconds"] < 120


@pytest.mark.parametrize("error", ["States.QueryEvaluationError", "States.Permissions"])
def test_permanent_errors_are_not_retried(error: str, states: States) -> None:
    assert _retries(states, error) == 0
    assert _caught(states, error) is None


def _retry_delays_s(states: States) -> list[float]:
    """The longest delay before each retry; with full jitter, half of it on average."""
    retry = states["Post"]["Retry"][-1]
    return [
        min(retry["IntervalSeconds"] * retry["BackoffRate"] ** attempt, retry["MaxDelaySeconds"])
        for attempt in range(retry["MaxAttempts"])
    ]


def test_retries_back_off_with_full_jitter(states: States) -> None:
    assert states["Post"]["Retry"][-1]["JitterStrategy"] == "FULL"
    delays_s = _retry_delays_s(states)
    assert delays_s[0] == 2
    assert 1800 < sum(delays_s) / 2 < 7200, "half an hour to two hours on average"


def _wait(states: States, evaluate: Evaluate, cause: str, throttled: int | None = None) -> dict[str, Any]:
    catcher = states["Post"]["Catch"][0]
    before = {"destination": "default"} if throttled is None else {"throttled": throttled, "wait_s": 1}
    error_output = {"Error": "ApiGateway.429", "Cause": cause}
    output: dict[str, Any] = evaluate(catcher["Output"], input=before, errorOutput=error_output)
    return output


@pytest.mark.parametrize(
    ("cause", "least_s"),
    [
        ('{"message": "You are being rate limited.", "retry_after": 0.331, "global": false}', 1),
        ('{"retry_after":64.57,"global":true,"message":"x"}', 65),
        ('{"retry_after": 2, "code": 0}', 2),
        ('{"retry_after": 0, "code": 0}', 0),
        ('{"retry_after": 0.0}', 0),
        (json.dumps(json.dumps({"retry_after": 7.25})), 8),
        ('{"retry_after": 86400}', 3600),
        (f'{{"retry_after": {"9" * 400}}}', 3600),
        ('{"retry_after": null}', 5),
        ('{"retry_after": -3}', 3),
        ('{"message":"Too Many Requests"}', 5),
        ("<!DOCTYPE html><html><body>error code: 1015</body></html>", 5),
        ("", 5),
    ],
)
def test_first_wait_is_named_by_body(cause: str, least_s: int, states: States, evaluate: Evaluate) -> None:
    for _ in range(20):
        output = _wait(states, evaluate, cause)
        assert least_s <= output["wait_s"] <= least_s + 1
        assert output["throttled"] == 1
        assert evaluate(states["WaitForDiscord"]["Seconds"], input=output) == output["wait_s"]


@settings(max_examples=200, deadline=None)
@given(
    cause=st.text()
    | st.text().map('{{"retry_after": {}}}'.format)
    | st.floats().map('"retry_after": {}'.format)
)
def test_any_body_makes_a_valid_wait(cause: str, states: States, evaluate: Evaluate) -> None:
    """A Wait takes whole seconds and nothing below zero."""
    seconds = _wait(states, evaluate, cause, throttled=3)["wait_s"]
    assert isinstance(seconds, int)
    assert 0 <= seconds <= 3600 + 300


def test_later_waits_spread_further(states: States, evaluate: Evaluate) -> None:
    """Executions that were throttled together must not come back together; one alone need not wait."""
    for throttled, spread_s in ((0, 0), (3, 0), (5, 4), (7, 16), (9, 64), (12, 300), (119, 300)):
        waits = [_wait(states, evaluate, '{"retry_after": 2.0}', throttled)["wait_s"] for _ in range(60)]
        assert min(waits) >= 2
        assert max(waits) <= 2 + spread_s
        assert len(set(waits)) > min(spread_s, 20) / 2 or spread_s == 0


def test_history_stays_below_limit(text: str, states: States) -> None:
    """Discord throttles to the end and names no time, after as many failed tries as write the most events."""
    delays_s = _retry_delays_s(states)
    # Entered and exited, of both states; scheduled, started and failed for each try. Delays are half their
    # bound on average, the longest wait's too.
    rates = [
        (2 * 2 + 3 * (retries + 1)) / (sum(delays_s[:retries]) / 2 + 300 / 2)
        for retries in range(len(delays_s))
    ]
    events = max(rates) * json.loads(text)["TimeoutSeconds"]
    assert 2_000 < events < MAX_HISTORY_EVENTS / 8, "and there is room for redrives"


def test_throttle_ends_with_the_execution(text: str, states: States) -> None:
    """A time-out can be redriven and starts anew then; nothing in the loop counts what was before."""
    assert json.loads(text)["TimeoutSeconds"] == 6 * 3600
    assert states["WaitForDiscord"].keys() == {"Type", "Seconds", "Next"}


def test_outage_fails_before_the_timeout(text: str, states: States) -> None:
    """The last server error is then the execution's own; a time-out would have none."""
    delays_s, task_s = _retry_delays_s(states), states["Post"]["TimeoutSeconds"]
    outage_s = sum(delays_s) + (len(delays_s) + 1) * task_s
    assert outage_s <= 2.5 * 3600 < json.loads(text)["TimeoutSeconds"]


def test_wait_hands_on_little(states: States, evaluate: Evaluate) -> None:
    """The events do not go around the loop: next to a batch of nearly 256 KiB nothing else would fit."""
    output = _wait(states, evaluate, '{"retry_after": 1}')
    assert output.keys() == {"throttled", "wait_s"}


def test_definition_is_ascii_with_placeholders(text: str) -> None:
    """CloudFormation reads other characters back as question marks, and substitutes every ``${…}``."""
    # https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/814
    assert text.isascii()
    assert re.findall(r"\$\{[^}]*\}", text) == ["${Partition}", "${WebhookProxyHost}"]

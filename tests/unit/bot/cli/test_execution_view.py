"""An execution as it is shown to people and to programs."""

import json
from dataclasses import replace

import pytest

from bot.api.execution_arn import ExecutionArn
from bot.api.executions import Execution
from bot.cli.execution_view import describe_execution, explain_end, render_execution, render_length

ARN = ExecutionArn("arn:aws:states:us-east-1:123456789012:execution:m:n", "us-east-1", "m", "n")
STARTED_MS = 1_795_244_400_123
RUNS = Execution(ARN.text, "n", "RUNNING", STARTED_MS, None, '{"a":[1]}', None, None, None)
ENDED = replace(RUNS, status="SUCCEEDED", ended_ms=STARTED_MS + 61_500, output='{"posted":1}')
FAILED = replace(ENDED, status="FAILED", output=None, error="ApiGateway.404", cause="gone\nfor good")


def refused(refusal: str, *, spelling: str = "ApiGateway", given: str | None = None) -> Execution:
    """An execution with the input *given*, whose task was answered with "STATUS: BODY"."""
    status, _, body = refusal.partition(": ")
    return replace(FAILED, error=f"{spelling}.{status}", cause=body, input=given)


def render(found: Execution) -> list[str]:
    return render_execution(found, ARN, STARTED_MS + 120_000)


def test_running_execution_lacks_end() -> None:
    lines = render(RUNS)
    assert [line.split()[0] for line in lines if line] == [
        "execution", "arn", "status", "started", "input", "{", '"a":', "1", "]", "}",
    ]  # fmt: skip
    assert "2 minutes ago" in lines[3]


def test_shows_end_and_duration() -> None:
    lines = render(ENDED)
    assert "  took     61.500 s (1 minute)" in lines
    assert lines[-4:] == ["output", "  {", '    "posted": 1', "  }"]
    assert explain_end(ENDED) == []


def test_shows_cause_by_line() -> None:
    lines = render(FAILED)
    assert "  error    ApiGateway.404" in lines
    where = lines.index("cause")
    assert lines[where + 1 : where + 3] == ["  gone", "  for good"]
    assert explain_end(FAILED) == ["the execution ended as FAILED: ApiGateway.404: gone\\nfor good"]


@pytest.mark.parametrize("text", ["not JSON \x1b[2J", '"\x1b[2J"', '"\\u001b[2J \\u202e"', "[" * 100_000])
def test_escapes_terminal_controls(text: str) -> None:
    found = replace(FAILED, status=text, error=text, cause=text, input=text, output=text)
    shown = render(found)
    assert not {character for line in shown for character in line} & {"\x1b", "\u202e"}
    assert "\x1b" not in "".join(explain_end(found))
    assert json.dumps(describe_execution(found))


@pytest.mark.parametrize("spelling", ["ApiGateway", "APIGateway"])
@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        (
            '404: {"message":"Not Found"}',
            "the stack has no destination raid: voice-relay deploy --destination raid",
        ),
        (
            '403: {"message":"Forbidden"}',
            (
                "the stack has no destination raid (voice-relay deploy --destination raid), or the role of "
                "its workflow may not post there (voice-relay deploy repairs it)"
            ),
        ),
        *(
            (refusal, "the webhook is gone or was changed: voice-relay deploy --renew-webhook raid")
            for refusal in (
                '404: {"message": "Unknown Webhook", "code": 10015}',
                '401: {"message": "Invalid Webhook Token", "code": 50027}',
                '403: {"message": "Missing Permissions", "code": 50013}',
                '404: {"message": "Not Found", "code": 0}',
            )
        ),
        ('400: {"embeds": ["0"]}', None),
        ('400: {"message": "Invalid Form Body", "code": 50035}', None),
        ('404: {"message":"Not Found","more":1}', None),
        ("404: <html>", None),
        ("404: [" + "[" * 100_000, None),
        ("404: gone", None),
    ],
)
def test_refusal_names_remedy(spelling: str, refusal: str, remedy: str | None) -> None:
    """API Gateway's own answer is about the stack, and Discord's about the webhook."""
    found = refused(refusal, spelling=spelling, given='{"destination":"raid"}')
    assert explain_end(found)[1:] == ([] if remedy is None else [remedy])
    assert explain_end(replace(found, error="States.QueryEvaluationError"))[1:] == []
    assert explain_end(replace(found, error=None))[1:] == []


def test_timeout_is_explained() -> None:
    """Step Functions names no error and no cause for it."""
    found = replace(FAILED, status="TIMED_OUT", error=None, cause=None)
    assert explain_end(found) == [
        "the execution ended as TIMED_OUT",
        "its time was up; a workflow that posts waits for six hours while Discord throttles it",
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ('{"destination":"a b\\u001b"}', "the stack cannot have a destination a b\\u001b"),
        ('{"destination":"a-b"}', "a destination a-b: names consist of up to 16 letters and digits"),
        ('{"destination":"a2345678901234567"}', "the stack cannot have a destination a2345678901234567"),
        ("no JSON", "--destination NAME"),
        (None, "--destination NAME"),
        ('{"destination":7}', "--destination NAME"),
    ],
)
def test_remedy_escapes_destination(given: str | None, words: str) -> None:
    found = refused('404: {"message":"Not Found"}', given=given)
    assert words in explain_end(found)[1]


@pytest.mark.parametrize("refusal", ['404: {"message":"Not Found"}', '401: {"message": "m", "code": 50027}'])
def test_single_machine_remedy_is_setting(refusal: str) -> None:
    (_, remedy) = explain_end(refused(refusal), deployed=False)
    assert "VOICE_RELAY_WEBHOOK_URL" in remedy
    assert "deploy" not in remedy


def test_masks_secret_in_cause() -> None:
    found = replace(FAILED, cause="POST https://discord.com/api/webhooks/123/a-secret-token")
    assert "a-secret-token" not in f"{render(found)}{explain_end(found)}{describe_execution(found)}"


def test_json_uses_step_functions_names() -> None:
    assert describe_execution(ENDED) == {
        "executionArn": ARN.text,
        "name": "n",
        "status": "SUCCEEDED",
        "startDate": "2026-11-21T07:00:00.123Z",
        "stopDate": "2026-11-21T07:01:01.623Z",
        "duration_s": 61.5,
        "input": {"a": [1]},
        "output": {"posted": 1},
        "error": None,
        "cause": None,
    }
    assert describe_execution(RUNS)["stopDate"] is None


def test_short_time_is_numeric() -> None:
    assert render_length(59_999) == "59.999 s"

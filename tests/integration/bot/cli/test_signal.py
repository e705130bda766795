"""``voice-relay signal``: each outcome is a sentence and an exit code."""

import orjson
import pytest

import bot.cli.signal
from bot.cli.main import main
from bot.cli.signal import Options, send
from bot.errors import Rejected, SettingsError
from tests.integration.bot.cli.answers import ARN, THROTTLED, Reply, reply, target
from tests.support.consoles import RecordingConsole
from tests.support.ingress import StubIngress

ADMIT = Options("n", "admit", {})
DECIDED = {"outcome": "already_decided", "signal": "decline", "at": "2026-11-21T07:00:00.123Z"}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot.cli.signal, "backoff_s", lambda *_: 0.0)


def answered(**fields: object) -> Reply:
    return reply(orjson.dumps({"status": "SUCCEEDED", "output": orjson.dumps(fields).decode()}))


async def test_says_that_it_goes_on(api: StubIngress) -> None:
    api.answers.extend([reply(THROTTLED, 429), answered(outcome="signalled")])
    console = RecordingConsole()
    assert await send("n", ARN, ADMIT, target(api), console) == 0
    assert console.lines == ["signalled: n goes on with 'admit'"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"outcome": "not_waiting"}, "n does not wait for a signal: it has not come so far yet"),
        ({"outcome": "not_allowed"}, "n takes no 'admit' from an operator: its workflow says who"),
        ({**DECIDED, "by": {"kind": "user", "id": "8"}}, "n has been decided already: 'decline' by user 8, "),
        ({**DECIDED, "by": {"kind": "relay"}}, "n has been decided already: 'decline' by the relay, "),
        ({**DECIDED, "by": {"kind": "operator"}}, "n has been decided already: 'decline' by an operator, "),
    ],
)
async def test_says_why_not(api: StubIngress, fields: dict[str, object], sentence: str) -> None:
    api.answers.append(answered(**fields))
    console = RecordingConsole()
    assert await send("n", None, ADMIT, target(api), console) == 1
    (hint,) = console.hints
    assert hint.startswith(f"voice-relay: {sentence}")


async def test_raises_what_the_stack_refused(api: StubIngress) -> None:
    api.answers.append(reply(b'{"status":"FAILED","error":"InvalidSignal","cause":"data must be an object"}'))
    with pytest.raises(Rejected, match="data must be an object"):
        await send("n", None, ADMIT, target(api), RecordingConsole())


async def test_refuses_execution_elsewhere(api: StubIngress) -> None:
    with pytest.raises(SettingsError, match="is in us-east-1, but"):
        await send("n", ARN, ADMIT, target(api, "eu-west-1"), RecordingConsole())
    assert api.requests == 0


@pytest.mark.parametrize("data", ["[]", "{", "NaN", '{"a": Infinity}', "[" * 5000])
def test_refuses_data_that_is_no_object(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["signal", "n", "admit", "--data", data])
    assert 'must be a JSON object, such as {"note": "welcome"}' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["x" * 81, "admit"], "the name of an execution has 1 to 80 characters"),
        (["", "admit"], "the name of an execution has 1 to 80 characters"),
        (["n", "x" * 41], "a signal has 1 to 40 characters"),
        (["arn:aws:states:us-east-1:123456789012:stateMachine:m", "admit"], "is the ARN of a state machine"),
    ],
)
def test_refuses_wrong_arguments(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["signal", *arguments]) == 2
    assert sentence in capsys.readouterr().err

"""What a user's tests of a workflow do: start it, signal it, see what it posted and had the bot do."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bot.api.signals import Sender
from bot.cli.main import main
from infra.local.workbench import Workbench

ASK: dict[str, Any] = {
    "QueryLanguage": "JSONata",
    "StartAt": "Ask",
    "States": {
        "Ask": {
            "Type": "Task",
            "Resource": "${ActionsActivity}",
            "TimeoutSeconds": 60,
            "HeartbeatSeconds": 30,
            "Arguments": {
                "action": "send",
                "key": "{% $states.context.Execution.Name & ':ask' %}",
                "channel_id": "{% $states.context.Execution.Input.parameters.channel %}",
                "message": {
                    "content": "May they?",
                    "buttons": [{"label": "Yes", "style": "success", "signal": "yes"}],
                },
            },
            "Assign": {"card": "{% $states.result.message_id %}"},
            "Catch": [{"ErrorEquals": ["Discord.MissingPermissions"], "Next": "Refused"}],
            "Next": "Wait",
        },
        "Wait": {
            "Type": "Task",
            "Resource": "arn:${Partition}:states:::aws-sdk:dynamodb:putItem.waitForTaskToken",
            "TimeoutSeconds": 60,
            "Arguments": {
                "TableName": "${WaitsTable}",
                "Item": {
                    "name": {"S": "{% $states.context.Execution.Name %}"},
                    "token": {"S": "{% $states.context.Task.Token %}"},
                    "allow": {"S": '{"yes": {"users": ["5"]}}'},
                    "expires_at": {"N": "{% $string($floor($millis() / 1000) + 600) %}"},
                },
            },
            "Output": "{% {'by': $states.result.by.id, 'card': $card} %}",
            "End": True,
        },
        "Refused": {"Type": "Pass", "Output": "{% $states.input %}", "End": True},
    },
}


@pytest.fixture
def ask(tmp_path: Path) -> Path:
    path = tmp_path / "ask.asl.json"
    path.write_text(json.dumps(ASK))
    return path


def test_signals_and_acts(ask: Path) -> None:
    with Workbench(ask) as bench:
        name = bench.start(bench.event("joined"), parameters={"channel": "7"})

        assert bench.signal(name, "yes", by=Sender("user", "6")) == "not_allowed"
        assert bench.signal(name, "yes", by=Sender("user", "5")) == "signalled"
        ended = bench.wait(name)
        assert (ended.status, ended.output) == ("SUCCEEDED", {"by": "5", "card": "127121515262115843"})
        assert bench.signal(name, "yes", by=Sender("user", "5")) == "already_decided"
        assert [(each["action"], each["channel_id"]) for each in bench.acted] == [("send", "7")]

        bench.answers["send"] = RuntimeError("Discord.MissingPermissions")
        refused = bench.run(bench.event("left", occupants=0), parameters={"channel": "8"})
        assert refused.output["Error"] == "Discord.MissingPermissions"

        wrong = bench.run(bench.event("joined"), parameters={"channel": "the staff's"})
        assert (wrong.status, wrong.error) == ("FAILED", "Action.BadInput")
        assert "channel_id" in wrong.cause
        assert len(bench.acted) == 2


def test_wait_expires(ask: Path) -> None:
    with Workbench(ask) as bench:
        name = bench.start(bench.event("joined"), parameters={"channel": "7"})

        bench.expire(name)

        ended = bench.wait(name)
        assert (ended.status, ended.error) == ("FAILED", "States.Timeout")


def test_failed_execution_takes_no_signal(ask: Path) -> None:
    """Its error is told at once, not that it does not wait after a minute."""
    with Workbench(ask) as bench:
        bench.answers["send"] = RuntimeError("Discord.UnknownChannel")
        name = bench.start(bench.event("joined"), parameters={"channel": "7"})
        assert bench.wait(name).status == "FAILED"

        with pytest.raises(RuntimeError, match=r"ended as FAILED.*: Discord.UnknownChannel: from the test"):
            bench.signal(name, "yes")
        with pytest.raises(RuntimeError, match=r"Discord\.UnknownChannel"):
            bench.expire(name)


def test_closes_while_an_action_is_asked_for(ask: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer finds the embedded AWS gone, and the worker ends without a word."""
    asked, closed = threading.Event(), threading.Event()
    raised: list[object] = []
    workers: list[threading.Thread] = []

    class Late(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            workers.append(threading.current_thread())
            asked.set()
            closed.wait(60)
            return default

    monkeypatch.setattr(threading, "excepthook", raised.append)
    bench = Workbench(ask)
    bench.answers = Late()
    with bench:
        bench.start(bench.event("joined"), parameters={"channel": "7"})
        assert asked.wait(60)
    closed.set()
    workers[0].join(60)

    assert not workers[0].is_alive()
    assert raised == []


def test_started_workflow_passes_its_test(tmp_path: Path) -> None:
    """As ``voice-relay workflow new`` writes it, run by pytest without this project's settings."""
    assert main(["workflow", "new", "say-hello", str(tmp_path)]) == 0

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_say_hello.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout

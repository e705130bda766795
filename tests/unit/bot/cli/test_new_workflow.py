"""``voice-relay workflow new``, ``events schema`` and ``events sample``."""

import json
from pathlib import Path

import pytest

from bot.cli.main import main
from bot.routing.rules_file import read_rules
from bot.voice.events import EVENT, json_schema
from bot.voice.samples import KINDS
from infra.deploy.definition import read_definition


def test_writes_sound_definition(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["workflow", "new", "hi", str(tmp_path / "new")]) == 0

    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["hi.asl.json", "test_hi.py"]
    assert read_definition(tmp_path / "new" / "hi.asl.json").needs == {"posts"}
    test = (tmp_path / "new" / "test_hi.py").read_text()
    assert "starter" not in test
    compile(test, "test_hi.py", "exec")
    printed = capsys.readouterr().out
    assert "deploy workflow" in printed
    (tmp_path / "rules.toml").write_text(printed[printed.index("[[rule]]") :])
    (rule,) = read_rules(tmp_path / "rules.toml").rules
    assert (rule.workflow, rule.batch_max_events) == ("hi", 1)


@pytest.mark.parametrize("there", ["hi.asl.json", "test_hi.py"])
def test_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], there: str) -> None:
    (tmp_path / there).write_text("mine")

    assert main(["workflow", "new", "hi", str(tmp_path)]) == 1

    assert f"{tmp_path / there} would be overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("two words", "is not a workflow's name"), ("notify", "a workflow notify comes with voice-relay")],
)
def test_refuses_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, sentence: str) -> None:
    assert main(["workflow", "new", name, str(tmp_path)]) == 2

    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_prints_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
    assert main(["events", "schema", "moved"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["type"]["const"] == "discord.voice.moved"


@pytest.mark.parametrize("kind", KINDS)
def test_prints_samples(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    assert main(["events", "sample", kind]) == 0
    event = EVENT.validate_json(capsys.readouterr().out)
    assert main(["events", "sample", kind, "--input"]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == [event]

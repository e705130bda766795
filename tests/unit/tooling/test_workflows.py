"""The workflow definitions are built from their sources, and the committed ones are current."""

import json
import re
import shutil
from pathlib import Path

import pytest
from jsonata.jsonata import Jsonata

from tooling.workflows import WORKFLOWS, SourceError, build, render, sources, target

SOURCES = sources()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_built_file_is_current(source: Path) -> None:
    """``make workflows`` writes it anew."""
    assert target(source).read_text(encoding="utf-8") == build(source)


def test_every_definition_has_a_source() -> None:
    assert {target(source) for source in SOURCES} == set(WORKFLOWS.glob("*.asl.json"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_built_file_names_its_source(source: Path) -> None:
    built = build(source)

    assert f"Built from workflow/source/{source.name}" in json.loads(built)["Comment"]
    assert built.isascii()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_include_lies_below(folder: Path) -> None:
    """What stands beside an include wins, key by key."""
    _write(
        folder / "shared" / "base.yaml", "States: {A: {Type: Task, Arguments: {x: 1, y: 2}}, B: {Type: Fail}}"
    )
    source = _write(
        folder / "w.yaml",
        "Comment: C.\n$include: shared/base.yaml\nStates: {A: {Arguments: {y: 3}, End: true}}",
    )

    assert json.loads(build(source))["States"] == {
        "A": {"Type": "Task", "Arguments": {"x": 1, "y": 3}, "End": True},
        "B": {"Type": "Fail"},
    }


def test_error_groups_become_one_list(folder: Path) -> None:
    source = _write(
        folder / "w.yaml",
        "Comment: C.\nRetry: [{ErrorEquals: [&g [A, B], C]}]\n"
        "Catch: [{ErrorEquals: *g}, {ErrorEquals: [*g, [D]]}]",
    )
    built = json.loads(build(source))

    assert built["Retry"] == [{"ErrorEquals": ["A", "B", "C"]}]
    assert built["Catch"] == [{"ErrorEquals": ["A", "B"]}, {"ErrorEquals": ["A", "B", "D"]}]


def test_expression_gets_its_definitions(folder: Path) -> None:
    _write(folder / "shared" / "words.jsonata", "$word := '🟢'; /* of all */")
    _write(folder / "w.jsonata", "$line := $word & '!';")
    source = _write(folder / "w.yaml", "Comment: C.\nx: |\n  {%\n    $line  /* it */\n  %}\ny: '{% 1 %}'")
    built = build(source)

    assert json.loads(built)["x"] == "{% ($word:='🟢';$line:=$word&'!';$line) %}"
    assert json.loads(built)["y"] == "{% 1 %}"
    assert "\\ud83d\\udfe2" in built


@pytest.mark.parametrize(
    ("source", "library", "problem"),
    [
        ("x: '{% $lien %}'", "", r"\$lien is not defined"),
        ("x: '{% 1 + %}'", "", r"in: 1\+"),
        ("x: 1", "$word := 2;", r"w\.jsonata: \$word is already defined in another file"),
        ("x: 1", "$other := 2", r"w\.jsonata: no ; after"),
        ("$include: shared/none.yaml", "", r"none\.yaml"),
        ("x: [", "", r"w\.yaml: while parsing"),
    ],
)
def test_broken_source_is_named(source: str, library: str, problem: str, folder: Path) -> None:
    _write(folder / "shared" / "words.jsonata", "$word := 'x';")
    _write(folder / "w.jsonata", library)
    path = _write(folder / "w.yaml", f"Comment: C.\n{source}")

    with pytest.raises(SourceError, match=rf"(?s)w\.yaml: .*{problem}|{problem}"):
        build(path)


def test_render_breaks_long_lines() -> None:
    node = {"long": ["x" * 60, {"y": "z" * 60}], "short": [1, {"a": None}]}
    text = render(node)

    assert json.loads(text) == node
    assert max(map(len, text.splitlines())) < 110
    assert '  "short": [1, {"a": null}]' in text.splitlines()


def test_one_edit_changes_a_verb(tmp_path: Path) -> None:
    """Another word for ``joined`` is one line of shared/words.jsonata, for every workflow that says it."""
    sources_copy = shutil.copytree(WORKFLOWS / "source", tmp_path / "source")
    words = sources_copy / "shared" / "words.jsonata"
    text = words.read_text(encoding="utf-8")
    verb = re.search(r"'discord\.voice\.joined':\s*{'verb': '([^']+)'", text)
    assert verb is not None
    start, end = verb.span(1)
    words.write_text(f"{text[:start]}came to{text[end:]}", encoding="utf-8")

    for name in ("notify", "digest"):
        machine = json.loads(build(sources_copy / f"{name}.yaml"))
        expression = machine["States"]["Post"]["Arguments"]["RequestBody"]["embeds"]
        if name == "digest":
            expression = expression[0]["description"]
        context = {"Execution": {"Input": {"events": [{"type": "discord.voice.joined"}]}}}
        said = str(Jsonata.jsonata(expression[2:-2]).evaluate(None, {"states": {"context": context}}))
        assert "came to" in said
        assert verb[1] not in said

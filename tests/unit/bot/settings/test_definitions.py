"""The directory with the definitions of one's own workflows."""

from pathlib import Path

import pytest

from bot.errors import SettingsError
from bot.settings.definitions import find_definitions


def test_finds_definitions_alone(tmp_path: Path) -> None:
    for name in ("greet.asl.json", "admit.asl.json", "greet.policy.json", "README.md", "test_greet.py"):
        (tmp_path / name).touch()

    assert find_definitions(tmp_path) == {
        "admit": tmp_path / "admit.asl.json",
        "greet": tmp_path / "greet.asl.json",
    }
    assert find_definitions(None) == {}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("two words.asl.json", "names no workflow: rename it"),
        ("notify.asl.json", "has the name of a workflow of the relay's own: rename it"),
    ],
)
def test_refuses_names(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / name).touch()

    with pytest.raises(SettingsError, match=sentence):
        find_definitions(tmp_path)


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"VOICE_RELAY_WORKFLOWS_DIR .*/nowhere is not a directory: create it"
    ):
        find_definitions(tmp_path / "nowhere")

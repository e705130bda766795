"""Actions that workflows ask for and the bot would refuse."""

import json
from pathlib import Path

from bot.settings.needed_actions import find_missing_actions

OF_ADMIT = ["find_person", "move", "disconnect", "send", "edit"]


def test_admit_with_one_action_lacks_the_others() -> None:
    (text,) = find_missing_actions({"admit", "notify"}, {}, ["send"])
    assert text == (
        "the workflow admit asks the bot for find_person, move, disconnect and edit, which it refuses "
        "(Action.NotAllowed): add to VOICE_RELAY_ACTIONS find_person,move,disconnect,edit"
    )
    assert find_missing_actions({"admit", "notify"}, {}, OF_ADMIT) == []


def test_unused_workflows_need_nothing() -> None:
    assert find_missing_actions({"notify", "elsewhere"}, {}, []) == []


def test_reads_own_definitions(tmp_path: Path) -> None:
    """Branches count too; what is computed cannot be told."""
    inner = {"Type": "Task", "Arguments": {"action": "mute"}}
    computed = {"Type": "Task", "Arguments": "{% $deed %}"}
    states = {"Both": {"Type": "Parallel", "Branches": [{"States": {"A": inner, "B": computed}}]}}
    path = tmp_path / "quiet.asl.json"
    path.write_text(json.dumps({"StartAt": "Both", "States": states}))
    (text,) = find_missing_actions({"quiet"}, {"quiet": path}, ["send"])
    assert text.endswith("add to VOICE_RELAY_ACTIONS mute")
    assert find_missing_actions({"quiet"}, {}, ["send"]) == []


def test_unreadable_definition_is_named(tmp_path: Path) -> None:
    path = tmp_path / "quiet.asl.json"
    path.write_text("{")
    (text,) = find_missing_actions({"quiet"}, {"quiet": path}, [])
    assert text.startswith(f"{path} is no definition that can be read")

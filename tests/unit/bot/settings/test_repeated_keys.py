"""Settings that stand in ``.env`` twice."""

from pathlib import Path

import pytest

from bot.errors import SettingsError
from bot.settings.settings import load_api_settings

FIRST = "# comment\n\nVOICE_RELAY_ACTIONS=send,edit\n"


def load(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / ".env"
    path.write_text(text)
    try:
        load_api_settings(env_file=path)
    except SettingsError as error:
        return tuple(problem.removeprefix(f"{path} ") for problem in error.problems)
    return ()


@pytest.mark.parametrize(
    "second", ["VOICE_RELAY_ACTIONS=move", "export voice_relay_actions=move", "VOICE_RELAY_ACTIONS="]
)
def test_other_value_is_refused(tmp_path: Path, second: str) -> None:
    """Also where the last line unsets it, in another case, or after an empty line."""
    assert load(tmp_path, f"{FIRST}\n{second}\n") == (
        "sets VOICE_RELAY_ACTIONS on lines 3 and 5: make one line of them, since only the last counts",
    )


@pytest.mark.parametrize(
    "second", ["VOICE_RELAY_ACTIONS=send,edit", "#VOICE_RELAY_ACTIONS=move", "OTHER=1\nOTHER=2"]
)
def test_no_other_value_is_fine(tmp_path: Path, second: str) -> None:
    assert load(tmp_path, f"{FIRST}{second}\n") == ()

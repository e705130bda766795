"""The definitions of one's own workflows that single-machine mode deploys: files in WORKFLOWS_DIR."""

import re
from pathlib import Path
from typing import Final

from bot.errors import SettingsError
from workflow.registry import WORKFLOWS

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SUFFIX: Final = ".asl.json"


def find_definitions(directory: Path | None) -> dict[str, Path]:
    """Return the files ``NAME.asl.json`` in *directory* by NAME; raises SettingsError with every problem."""
    if directory is None:
        return {}
    if not directory.is_dir():
        raise SettingsError(
            [f"VOICE_RELAY_WORKFLOWS_DIR {directory} is not a directory: create it, or correct the path"]
        )
    found = {path.name.removesuffix(_SUFFIX): path for path in sorted(directory.glob(f"*{_SUFFIX}"))}
    problems = [
        f"{path} names no workflow: rename it to 1 to 64 letters, digits, - and _, with {_SUFFIX} after them"
        for name, path in found.items()
        if not _NAME.fullmatch(name)
    ]
    problems += [
        f"{path} has the name of a workflow of the relay's own: rename it"
        for name, path in found.items()
        if name in WORKFLOWS and not WORKFLOWS[name].own_stack
    ]
    if problems:
        raise SettingsError(problems)
    return found

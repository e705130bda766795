"""Which actions the workflows of the rules ask for and ACTIONS does not name.

The bot refuses such an action when an execution asks for it, which may be at the end, after a person decided.
What a definition computes while it runs, as ``escort`` does with its deed, cannot be told before.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bot.settings.values import ACTIONS
from bot.text import list_words
from workflow.registry import WORKFLOWS


def find_missing_actions(
    workflows: Collection[str], definitions: Mapping[str, Path], allowed: Collection[str]
) -> list[str]:
    """Return a sentence for each of *workflows* that asks for more than is *allowed*.

    *definitions* are one's own by name; those that come with the relay are known.
    """
    bundled = {name: workflow.definition for name, workflow in WORKFLOWS.items()}
    paths = bundled | dict(definitions)
    known = sorted(paths.keys() & set(workflows))
    return [text for name in known for text in _check(name, paths[name], allowed)]


def _check(name: str, path: Path, allowed: Collection[str]) -> Iterator[str]:
    try:
        asked = set(_find_asked(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, RecursionError) as error:
        yield f"{path} is no definition that can be read, so its actions are not checked: {error}"
        return
    missing = [action for action in ACTIONS if action in asked and action not in allowed]
    if missing:
        yield (
            f"the workflow {name} asks the bot for {list_words(missing)}, which it refuses "
            f"(Action.NotAllowed): add to VOICE_RELAY_ACTIONS {','.join(missing)}"
        )


def _find_asked(node: Any) -> Iterator[str]:
    """Yield the actions that the Task states in *node* name."""
    if isinstance(node, list):
        for item in node:
            yield from _find_asked(item)
    elif isinstance(node, dict):
        given = node.get("Arguments", node.get("Parameters"))
        if node.get("Type") == "Task" and isinstance(given, dict) and isinstance(given.get("action"), str):
            yield given["action"]
        for item in node.values():
            yield from _find_asked(item)

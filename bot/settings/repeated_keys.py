"""Settings that ``.env`` has twice with different values: the last line would win without a word."""

import io
from pathlib import Path

from dotenv.parser import parse_stream

from bot.settings.sources import PREFIX
from bot.text import list_words


def find_repeated_keys(env_file: Path | None) -> list[str]:
    """Return a problem for each setting that two lines of *env_file* give different values."""
    if env_file is None or not env_file.is_file():
        return []
    found: dict[str, list[tuple[int, str]]] = {}
    # As pydantic-settings reads it. Blank lines before a key belong to its binding.
    for binding in parse_stream(io.StringIO(env_file.read_text(encoding="utf-8"))):
        name = (binding.key or "").upper()
        if name.startswith(PREFIX):
            text = binding.original.string
            line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
            found.setdefault(name, []).append((line, binding.value or ""))
    return [
        f"{env_file} sets {name} on lines {list_words([str(line) for line, _ in lines])}: make one line of "
        "them, since only the last counts"
        for name, lines in found.items()
        if len({value for _, value in lines}) > 1
    ]

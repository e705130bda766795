"""Edits values in a ``.env`` file without changing any other character.

python-dotenv parses it, as it does for the bot: a value may span lines, ``export`` may precede a name, and
the last of several lines with the same name wins.
"""

import io
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from dotenv.parser import Binding, parse_stream

from infra.deploy.aws_errors import DeployError

# Characters that need no quotes for any reader of such files, Docker included.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:+=@%,-]*")
_ONE_LINE: Final = re.compile(
    r"(?P<name>\s*(?:export\s+)?[^=\n]+?=)[ \t]*"
    r"(?P<value>'[^'\n]*'|\"[^\"\n]*\"|[^\n]*?)(?P<comment>[ \t]+#[^\r\n]*)?(?P<end>\r?\n?)"
)


class EnvFile:
    """The file at *path*, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def values(self) -> dict[str, str]:
        """Return the effective values by upper-case name, without empty ones."""
        values = {_name(binding): binding.value or "" for binding in _parse(self._read())}
        return {name: value for name, value in values.items() if name and value}

    def check(self) -> None:
        """Raise DeployError if the file could not be written; called before anything depends on it."""
        self._read()
        target = self.path.resolve()
        if not target.parent.is_dir():
            raise DeployError(
                f"{self.path} cannot be written: there is no directory {target.parent}; create it, name "
                "another file with --env-file, or skip the file with --no-env"
            )
        if not os.access(target.parent, os.W_OK):
            raise DeployError(
                f"{self.path} cannot be written: no permission to write to the directory {target.parent}; "
                "name another file with --env-file, or skip the file with --no-env"
            )

    def write(self, values: Mapping[str, str]) -> list[str]:
        """Set *values* and return the names whose values changed; the file is replaced atomically.

        Only the owner can read a new file; an existing file keeps its permissions.
        """
        before = self._read()
        after = set_values(before, values)
        if after == before:
            return []
        held = self.values()
        try:
            _replace(self.path.resolve(), after.encode())
        except OSError as error:
            raise DeployError(f"{self.path} cannot be written: {error.strerror}") from error
        return [name for name, value in values.items() if held.get(name) != value]

    def make_private(self) -> None:
        """Take the file, if there is one, from all but its owner; DeployError if that is another user."""
        try:
            self.path.chmod(0o600)
        except FileNotFoundError:
            return
        except OSError as error:
            raise DeployError(
                f"{self.path} cannot be made private ({error.strerror}): chmod 600 {self.path} as its owner"
            ) from error

    def readable_by_others(self) -> bool:
        with suppress(OSError):
            return bool(self.path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
        return False

    def _read(self) -> str:
        try:
            return self.path.read_bytes().decode()
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError:
            raise DeployError(f"{self.path} is not UTF-8 text: save it as UTF-8") from None
        except OSError as error:
            raise DeployError(f"{self.path} cannot be read: {error.strerror}") from error


def set_values(text: str, values: Mapping[str, str]) -> str:
    """Return *text* with *values* set.

    Changes the line that sets the name; else adds a line after a commented example of it, or at the end.
    """
    for name, value in values.items():
        if not _PLAIN.fullmatch(value):
            raise ValueError(f"the value of {name} would need quotes")
        text = _set_value(text, name, value)
    return text


def _set_value(text: str, name: str, value: str) -> str:
    bindings = _parse(text)
    parts = [binding.original.string for binding in bindings]
    # A byte order mark is in no binding.
    start = text[: len(text) - sum(map(len, parts))]
    end = "\r\n" if "\r\n" in text else "\n"
    line = f"{name}={value}{end}"
    places = [place for place, binding in enumerate(bindings) if _name(binding) == name]
    if places:
        parts[places[-1]] = _change_line(bindings[places[-1]], value, line)
        return start + "".join(parts)
    example = re.compile(rf"^[ \t]*#[ \t]*{name}[ \t]*=.*\s*\Z", re.MULTILINE)
    examples = [
        place
        for place, binding in enumerate(bindings)
        if binding.key is None and example.search(parts[place])
    ]
    if examples:
        place = examples[-1]
        parts[place : place + 1] = [_ended(parts[place], end), line]
    else:
        parts = [*parts[:-1], _ended(parts[-1], end), line] if parts else [line]
    return start + "".join(parts)


def _change_line(binding: Binding, value: str, line: str) -> str:
    whole = binding.original.string
    if (binding.value or "") == value:
        return whole
    found = _ONE_LINE.fullmatch(whole)
    if found is None:
        # The parser counts leading whitespace, such as empty lines, as part of the binding.
        return whole[: len(whole) - len(whole.lstrip())] + line
    return f"{found['name']}{value}{found['comment'] or ''}{found['end']}"


def _ended(part: str, end: str) -> str:
    return part if part.endswith(("\n", "\r")) or not part else part + end


def _parse(text: str) -> list[Binding]:
    return list(parse_stream(io.StringIO(text, newline="")))


def _name(binding: Binding) -> str:
    # The bot's settings are case-insensitive.
    return "" if binding.error or binding.key is None else binding.key.upper()


def _replace(path: Path, data: bytes) -> None:
    """Write *data* to *path* atomically."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            with suppress(FileNotFoundError):
                before = path.stat()
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
                with suppress(PermissionError):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

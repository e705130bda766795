"""A file of settings, ``.env``: some of its values are changed, and not a character of the rest.

It is read as the bot reads it, by python-dotenv: a value may go over several lines, ``export`` may stand
before a name, and of several lines with one name the last one counts.
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

# What every reader of such files, Docker among them, takes for itself without quotes.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:+=@%,-]*")
_ONE_LINE: Final = re.compile(
    r"(?P<name>\s*(?:export\s+)?[^=\n]+?=)[ \t]*"
    r"(?P<value>'[^'\n]*'|\"[^\"\n]*\"|[^\n]*?)(?P<comment>[ \t]+#[^\r\n]*)?(?P<end>\r?\n?)"
)


class EnvFile:
    """The file at *path*, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def values(self) -> dict[str, str]:
        """Every value that is in force, by name in upper case; an empty one counts as none."""
        values = {_name(binding): binding.value or "" for binding in _parse(self._read())}
        return {name: value for name, value in values.items() if name and value}

    def check(self) -> None:
        """Raise DeployError where it could not be written; asked before anything depends on it."""
        self._read()
        target = self.path.resolve()
        if not target.parent.is_dir():
            raise DeployError(
                f"{self.path} cannot be written: there is no directory {target.parent}; make it, or name "
                "another file with --env-file, or none with --no-env"
            )
        if not os.access(target.parent, os.W_OK):
            raise DeployError(
                f"{self.path} cannot be written: this user may not write to the directory {target.parent}; "
                "name another file with --env-file, or none with --no-env"
            )

    def write(self, values: Mapping[str, str]) -> list[str]:
        """Set *values* and return the names whose values were others; the file is replaced as a whole.

        A new file is for its owner alone; another keeps its permissions.
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
            raise DeployError(f"{self.path} is not text in UTF-8: write it anew") from None
        except OSError as error:
            raise DeployError(f"{self.path} cannot be read: {error.strerror}") from error


def set_values(text: str, values: Mapping[str, str]) -> str:
    """Return *text* with *values* in it.

    A line that sets the name is changed; where there is only an example of it behind a #, the new line comes
    after that; else it comes last.
    """
    for name, value in values.items():
        if not _PLAIN.fullmatch(value):
            raise ValueError(f"the value of {name} would need quotes")
        text = _set_value(text, name, value)
    return text


def _set_value(text: str, name: str, value: str) -> str:
    bindings = _parse(text)
    parts = [binding.original.string for binding in bindings]
    # A mark of the byte order is no part of any line.
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
        # What stands before the name, empty lines for one, is a part of it to the parser.
        return whole[: len(whole) - len(whole.lstrip())] + line
    return f"{found['name']}{value}{found['comment'] or ''}{found['end']}"


def _ended(part: str, end: str) -> str:
    return part if part.endswith(("\n", "\r")) or not part else part + end


def _parse(text: str) -> list[Binding]:
    return list(parse_stream(io.StringIO(text, newline="")))


def _name(binding: Binding) -> str:
    # The bot's settings go by any case.
    return "" if binding.error or binding.key is None else binding.key.upper()


def _replace(path: Path, data: bytes) -> None:
    """Put *data* at *path* so that there is never a half of it, whatever happens."""
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

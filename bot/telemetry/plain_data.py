"""Any object as plain data, one level at a time: what a log line can show of it.

``open_up`` returns ``None``, a bool, a number or a str for what is shown as it is, and a list or a dict for
what has parts, which are whatever they were. It never raises: an object may be broken, and the line that
tells about it is all the more needed.
"""

import dataclasses
import datetime as dt
import enum
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

import pydantic

HIDDEN: Final = "***"
"""Stands for what its owner keeps out of its own ``repr``."""

_ITEMS_MAX: Final = 200


def open_up(value: object) -> Any:
    """Return *value* as it is, as a text, or as its parts."""
    try:
        for kinds, show in _TABLE:
            if isinstance(value, kinds):
                return show(value)
        if dataclasses.is_dataclass(value):
            return _fields(value)
        return repr(value)
    except Exception:  # noqa: BLE001  # the object's own code ran
        return f"<{type(value).__name__}>"


def _mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    """A name that comes several times, as headers do, keeps all of its values."""
    parts: dict[str, Any] = {}
    for key, part in value.items():
        name = key if type(key) is str else _name(key)
        parts[name] = [parts[name], part] if name in parts else part
        if len(parts) >= _ITEMS_MAX:
            break
    return parts


def _name(key: object) -> str:
    shown = open_up(key)
    return shown if isinstance(shown, str) else str(shown)


def _collection(value: Collection[Any]) -> Any:
    names = getattr(value, "_fields", None)
    if isinstance(value, tuple) and isinstance(names, tuple):
        return dict(zip(names, value, strict=False))
    parts = [part for part, _ in zip(value, range(_ITEMS_MAX), strict=False)]
    return parts if len(parts) == len(value) else [*parts, f"{len(value) - len(parts)} more"]


def _fields(value: Any) -> dict[str, Any]:
    return {
        field.name: getattr(value, field.name) if field.repr else HIDDEN
        for field in dataclasses.fields(value)
    }


def _model(value: pydantic.BaseModel) -> dict[str, Any]:
    fields = type(value).model_fields
    return {name: getattr(value, name) if field.repr else HIDDEN for name, field in fields.items()}


def _number(value: Any) -> Any:
    # JSON readers, orjson among them, take no more than 64 bits.
    return value if isinstance(value, float) or -(2**63) <= value < 2**64 else str(value)


def _bytes(value: bytes | bytearray | memoryview) -> str:
    return bytes(value).decode(errors="backslashreplace")


def _error(value: BaseException) -> str:
    text = str(value)
    return f"{type(value).__name__}: {text}" if text else type(value).__name__


_TABLE: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (enum.Enum, lambda value: value.value),
    (str, str.__str__),
    ((bool, type(None)), lambda value: value),
    ((int, float), _number),
    ((bytes, bytearray, memoryview), _bytes),
    ((pydantic.SecretStr, pydantic.SecretBytes), lambda _: HIDDEN),
    (pydantic.BaseModel, _model),
    (Mapping, _mapping),
    ((list, tuple, set, frozenset, Collection), _collection),
    (BaseException, _error),
    ((dt.date, dt.time), lambda value: value.isoformat()),
    ((dt.timedelta, UUID, PurePath), str),
)
"""The first line that fits."""

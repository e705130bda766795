"""Any object as plain data, expanded one level at a time, for a log line.

``expand`` returns ``None``, a bool, a number or a str for a scalar, and a list or a dict of unexpanded
parts for anything else. It never raises: a broken object is just what a log line may have to report.
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
"""Replaces a field that its class keeps out of its ``repr``."""

_ITEMS_MAX: Final = 200


def expand(value: object) -> Any:
    """Return *value* as a scalar, or as a list or dict of its parts."""
    try:
        for kinds, show in _TABLE:
            if isinstance(value, kinds):
                return show(value)
        if dataclasses.is_dataclass(value):
            return _fields(value)
        return repr(value)
    except Exception:  # noqa: BLE001  # the object's own code may raise anything
        return f"<{type(value).__name__}>"


def _mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a dict with text keys; a key that repeats, as in headers, keeps all its values."""
    parts: dict[str, Any] = {}
    for key, part in value.items():
        name = key if type(key) is str else _name(key)
        parts[name] = [parts[name], part] if name in parts else part
        if len(parts) >= _ITEMS_MAX:
            break
    return parts


def _name(key: object) -> str:
    shown = expand(key)
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
    # JSON parsers, orjson among them, are limited to 64 bits.
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
"""The first line that matches decides."""

"""A seam: a ministack function that a hook patches or calls, and the check that it has not changed."""

import importlib
import importlib.metadata
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MINISTACK_VERSION = "1.5.33"

Function = Callable[..., Any]


class SeamChanged(RuntimeError):
    """The installed ministack is not the one the hooks were written for."""


def check_version() -> None:
    version = importlib.metadata.version("ministack")
    if version != MINISTACK_VERSION:
        raise SeamChanged(f"the hooks need ministack {MINISTACK_VERSION}, but {version} is installed")


def module(name: str) -> Any:
    """Import a module of ministack, which is untyped."""
    return importlib.import_module(name)


@dataclass(frozen=True)
class Seam:
    """One function of ministack: module, name and parameters."""

    module: str
    name: str
    parameters: tuple[str, ...]

    def check(self) -> None:
        """Raise SeamChanged unless the function exists with the same parameters."""
        function = getattr(module(self.module), self.name, None)
        if function is None:
            raise SeamChanged(f"{self.module} has no {self.name}")
        found = tuple(inspect.signature(function, follow_wrapped=False).parameters)
        if found != self.parameters:
            raise SeamChanged(f"{self.module}.{self.name} takes {', '.join(found)}")

    def original(self) -> Function:
        return getattr(module(self.module), self.name)  # type: ignore[no-any-return]

    def replace(self, function: Function) -> None:
        setattr(module(self.module), self.name, function)

"""A place in ministack where a hook takes hold, and the check that it is still the place it was."""

import importlib
import importlib.metadata
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MINISTACK_VERSION = "1.5.33"

Function = Callable[..., Any]


class SeamChanged(RuntimeError):
    """The installed ministack is not the one that the hooks were written for."""


def check_version() -> None:
    version = importlib.metadata.version("ministack")
    if version != MINISTACK_VERSION:
        raise SeamChanged(f"the hooks are written for ministack {MINISTACK_VERSION}, installed is {version}")


def module(name: str) -> Any:
    """A module of ministack, which is untyped."""
    return importlib.import_module(name)


@dataclass(frozen=True)
class Seam:
    """One function of ministack: its module, its name and the parameters that it takes."""

    module: str
    name: str
    parameters: tuple[str, ...]

    def check(self) -> None:
        """Raise SeamChanged unless the function is there and takes what it took."""
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

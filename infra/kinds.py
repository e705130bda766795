"""The templates that can be deployed, by the name that the command line has for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent

RELAY: Final = "relay"


@dataclass(frozen=True)
class Kind:
    """``suffix`` comes behind the relay's name and makes the stack's."""

    name: str
    template: Path
    suffix: str

    @property
    def is_relay(self) -> bool:
        return self.name == RELAY

    def stack_name(self, relay_stack: str) -> str:
        return relay_stack + self.suffix


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(RELAY, _HERE / "relay.yaml", ""),
        Kind("monitoring", _HERE / "monitoring.yaml", "-monitoring"),
        Kind("service", _HERE / "service.yaml", "-service"),
        Kind("github-oidc", _HERE / "github-oidc.yaml", "-github"),
    )
}

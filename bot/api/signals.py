"""Lets waiting executions go on, through the ingress API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bot.api.client import ApiClient
from bot.api.execution_responses import explain_missing_route
from bot.api.signal_responses import Answer, Decider, Outcome, parse_signal
from bot.errors import TemporaryFailure

__all__ = ["OPERATOR", "RELAY", "Answer", "Decider", "Outcome", "Sender", "Signals"]

_PATH: Final = "/executions/signal"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends a signal. The waiting execution has written down who may send which.

    ``kind`` is ``user``, ``relay`` or ``operator``. A user has an ``id``, the ids of their ``roles``, and in
    ``channel`` Discord's ``permissions``, the bits as a decimal string.
    """

    kind: str
    id: str | None = None
    roles: Sequence[str] = ()
    permissions: str | None = None
    channel: str | None = None

    def fields(self) -> dict[str, Any]:
        """Return what the request says of the sender."""
        given = {
            "kind": self.kind,
            "id": self.id,
            "roles": list(self.roles),
            "permissions": self.permissions,
            "channel": self.channel,
        }
        return {name: value for name, value in given.items() if value}


RELAY: Final = Sender("relay")
OPERATOR: Final = Sender("operator")


class Signals:
    """Signals executions through *api*."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def send(
        self, name: str, signal: str, *, by: Sender, data: Mapping[str, object] | None = None
    ) -> Answer:
        """Signal the execution *name*, whose waiting state gets *signal*, *data* and *by* as its result.

        Raises a DeliveryError. A TemporaryFailure may leave open whether the execution goes on; if so, the
        same signal sent again is answered with ``already_decided``.
        """
        body = orjson.dumps({"name": name, "signal": signal, "data": data or {}, "by": by.fields()})
        try:
            return await self._api.post(_PATH, body, parse_signal)
        except TemporaryFailure as error:
            if error.status == 404:
                raise explain_missing_route(_PATH) from None
            raise

"""A small client of the REST API, which sees statuses and bodies as they are."""

from typing import Any, NamedTuple, Self
from urllib.parse import quote

import aiohttp
import orjson

Json = dict[str, Any]


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> tuple[int, int]:
        """The status, and Discord's own code."""
        return self.status, self.body["code"]


class Asking:
    """Asks the API at *base_url* with *token*, within ``async with``."""

    def __init__(self, base_url: str, token: str) -> None:
        self._base_url = base_url
        self._headers = {"Authorization": f"Bot {token}"}

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def __call__(
        self, method: str, path: str, body: object = None, *, reason: str | None = None
    ) -> Answer:
        headers = dict(self._headers)
        if reason is not None:
            headers["X-Audit-Log-Reason"] = quote(reason)
        data = None if body is None else orjson.dumps(body)
        async with self._http.request(method, self._base_url + path, data=data, headers=headers) as response:
            raw = await response.read()
            return Answer(response.status, orjson.loads(raw) if raw else None, dict(response.headers))

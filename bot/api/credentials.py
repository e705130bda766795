"""AWS credentials from botocore's chain: environment, profile, SSO, container, instance, assumed role.

botocore finds and refreshes credentials inside a property read, with files, child processes and blocking
requests. Here that happens on a thread, one lookup at a time, and a caller waits only when it must:

    nothing cached, or it expires within a minute       look up; the caller waits, for a minute at most
    due for refresh by botocore (the last 15 minutes)   look up in the background; return the cached ones
    otherwise                                           return the cached ones

A source that hangs (a ``credential_process``, a network file system) keeps its thread for good. It is asked
again on another after a minute, then after two, four and so on up to an hour, until one answers.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final

import botocore.exceptions as aws
import structlog
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.session import Session

from bot.api.credential_errors import explain
from bot.errors import TemporaryFailure, Unauthorized

_MARGIN_S: Final = 60
_WAIT_MAX_S: Final = 60.0
_HUNG_MAX_S: Final = 3600.0
_REFRESH_EVERY_S: Final = 15.0

_UNUSABLE: Final = (
    "the AWS credentials hold a line break or another character that none can have: set them anew, without"
)

_Found = tuple[Credentials, ReadOnlyCredentials]
"""botocore's own object, which knows when it expires, and the values that it had at one moment."""

log = structlog.get_logger(__name__)


class ChainCredentials:
    """Provides credentials from botocore's chain that are valid now.

    *add_secret* gets every secret that is found, for redaction. *open_session* opens a botocore session for
    each lookup.
    """

    def __init__(
        self,
        *,
        add_secret: Callable[[str], object],
        open_session: Callable[[], Session] = Session,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._add_secret = add_secret
        self._open_session = open_session
        self._monotonic_s = monotonic_s
        self._found: Credentials | None = None
        self._frozen: ReadOnlyCredentials | None = None
        self._lookup: asyncio.Task[ReadOnlyCredentials] | None = None
        self._looked_up_s = float("-inf")
        self._hung = 0

    async def get(self) -> ReadOnlyCredentials:
        """Return one consistent set; raises Unauthorized or TemporaryFailure with the remedy."""
        if self._frozen is None or _expires_within(self._found, _MARGIN_S):
            return await self._wait()
        if _expires_within(self._found) and self._monotonic_s() - self._looked_up_s >= _REFRESH_EVERY_S:
            self._look_up()
        return self._frozen

    def forget(self) -> None:
        """Look up again next time: a file or a variable may have changed."""
        self._found = self._frozen = None
        # What a lookup under way returns may be what was refused: only those who wait for it get it.
        self._lookup = None

    async def _wait(self) -> ReadOnlyCredentials:
        lookup = self._look_up()
        try:
            async with asyncio.timeout(_WAIT_MAX_S):
                # Shielded: a caller that gives up must not end the lookup for the others.
                return await asyncio.shield(lookup)
        except TimeoutError:
            text = f"the source of the AWS credentials did not answer within {_WAIT_MAX_S:.0f} s"
            raise TemporaryFailure(text, code="Timeout") from None

    def _look_up(self) -> asyncio.Task[ReadOnlyCredentials]:
        now_s = self._monotonic_s()
        if self._lookup is not None and now_s - self._looked_up_s >= self._patience_s:
            self._hung += 1
            self._lookup = None
        if self._lookup is None:
            self._looked_up_s = now_s
            self._lookup = asyncio.create_task(self._refresh())
            self._lookup.add_done_callback(self._end_lookup)
        return self._lookup

    @property
    def _patience_s(self) -> float:
        """How long a lookup may take before the source is asked again."""
        return min(_WAIT_MAX_S * 2.0 ** min(self._hung, 16), _HUNG_MAX_S)

    def _end_lookup(self, task: asyncio.Task[ReadOnlyCredentials]) -> None:
        if self._lookup is not task:
            # Given up. Its exception, if any, is for those who waited.
            task.cancelled() or task.exception()
            return
        self._lookup = None
        self._hung = 0
        # Callers that wait get the exception; in the background only the log can tell.
        if not task.cancelled() and (error := task.exception()) is not None and self._frozen is not None:
            log.warning("credentials_not_renewed", reason=str(error), retry_s=_REFRESH_EVERY_S)

    async def _refresh(self) -> ReadOnlyCredentials:
        # A refresh that hangs keeps the lock of what it refreshes.
        found = None if self._hung else self._found
        found, frozen = await _on_thread(lambda: _find(self._open_session, found))
        for secret in (frozen.secret_key, frozen.token, frozen.access_key):
            if secret:
                self._add_secret(secret)
        if not _are_usable(frozen):
            raise Unauthorized(_UNUSABLE)
        if asyncio.current_task() is self._lookup:
            self._found, self._frozen = found, frozen
        return frozen


def _expires_within(found: Credentials | None, seconds: int | None = None) -> bool:
    """Tell whether *found* expires within *seconds*, by default botocore's refresh time; never blocks."""
    return isinstance(found, RefreshableCredentials) and bool(found.refresh_needed(seconds))


def _are_usable(keys: ReadOnlyCredentials) -> bool:
    """Tell whether *keys* can stand in a header."""
    return all(
        value is None or (value.isascii() and value.isprintable())
        for value in (keys.access_key, keys.secret_key, keys.token)
    )


def _find(open_session: Callable[[], Session], found: Credentials | None) -> _Found:
    """Find credentials, or refresh *found*; blocks."""
    try:
        if found is None:
            found = open_session().get_credentials()
        if found is None:
            raise aws.NoCredentialsError
        return found, found.get_frozen_credentials()
    except Exception as error:  # noqa: BLE001  # providers may raise anything; explain() has a line for it
        raise explain(error) from None


async def _on_thread(work: Callable[[], _Found]) -> _Found:
    """Run *work* on a daemon thread, so that the process can end without it, and return its result."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[_Found] = loop.create_future()

    def settle(found: _Found | None, error: Exception | None) -> None:
        if result.done():
            return
        if found is not None:
            result.set_result(found)
        elif error is not None:
            result.set_exception(error)

    def run() -> None:
        found, error = None, None
        try:
            found = work()
        except Exception as raised:  # noqa: BLE001  # passed on to the caller
            error = raised
        # The loop may be closed by now.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, found, error)

    threading.Thread(target=run, name="credentials", daemon=True).start()
    return await result

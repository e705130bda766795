"""AWS credentials from botocore's chain: environment, profile, SSO, container, instance, assumed role.

botocore looks for credentials, and renews them, inside of a property read: with files, child processes and
requests that block. Here that happens on a thread of its own, one look-up at a time, and whoever can goes on
with what is still good:

    nothing found yet, or it ends within _MARGIN_S      look it up; the caller waits
    botocore would renew it (15 minutes before the end) look it up beside; the caller gets what there is
    otherwise                                           the caller gets what there is
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Final

import botocore.exceptions as aws
import structlog
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.session import Session

from bot.errors import DeliveryError, SettingsError, TemporaryFailure, Unauthorized
from bot.settings.values import region_of

_MARGIN_S: Final = 60
_WAIT_MAX_S: Final = 60.0
_BESIDE_EVERY_S: Final = 15.0

_NONE_FOUND: Final = (
    "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a "
    "profile (with SSO, after `aws sso login`), or run with a role of the container or the instance"
)
_INCOMPLETE: Final = (
    "the AWS credentials are incomplete: give both the access key id and the secret access key"
)
_SSO: Final = "the AWS SSO session is missing or has expired: run `aws sso login` for the profile"
_LOGIN: Final = "the AWS login session is missing or has expired: run `aws login` for the profile"
_PROFILE: Final = "AWS_PROFILE names a profile that the AWS config files do not have: correct it or unset it"
_CONFIG: Final = "the AWS config files are not usable: check ~/.aws/config and ~/.aws/credentials"
_REFUSED: Final = "AWS refused the role: check its trust policy and the credentials that assume it"
_SILENT: Final = (
    "the source of the AWS credentials gave none: check the role of the container or the instance, or run "
    "the profile's credential_process by hand"
)
_UNREACHABLE: Final = "the source of the AWS credentials cannot be reached"

_NO_REGION: Final = (
    "VOICE_RELAY_AWS_REGION is not set, and neither the host name in VOICE_RELAY_API_ENDPOINT nor AWS's own "
    "settings tell a region: set it to the region of the stack"
)

_EXPLANATIONS: Final[tuple[tuple[type[Exception], type[DeliveryError], str], ...]] = (
    (aws.ProfileNotFound, Unauthorized, _PROFILE),
    (aws.NoCredentialsError, Unauthorized, _NONE_FOUND),
    (aws.PartialCredentialsError, Unauthorized, _INCOMPLETE),
    (aws.SSOError, Unauthorized, _SSO),
    (aws.TokenRetrievalError, Unauthorized, _SSO),
    (aws.LoginError, Unauthorized, _LOGIN),
    (aws.ConfigNotFound, Unauthorized, _CONFIG),
    (aws.ConfigParseError, Unauthorized, _CONFIG),
    (aws.InvalidConfigError, Unauthorized, _CONFIG),
    (aws.UnknownCredentialError, Unauthorized, _CONFIG),
    (aws.RefreshWithMFAUnsupportedError, Unauthorized, _CONFIG),
    (aws.ConnectionError, TemporaryFailure, _UNREACHABLE),
    (aws.HTTPClientError, TemporaryFailure, _UNREACHABLE),
    # Providers run foreign programs and read foreign answers, so anything at all may come out of them.
    (Exception, TemporaryFailure, _SILENT),
)
"""The first that fits. botocore's own text is left out: it can quote what a process or an endpoint said."""

_Found = tuple[Credentials, ReadOnlyCredentials]

log = structlog.get_logger(__name__)


class CredentialSource:
    """Hands out credentials that are good to sign with now.

    *add_secret* is told every secret that is found. *open_session* makes the botocore session to look in.
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
        self._looking: asyncio.Task[ReadOnlyCredentials] | None = None
        self._looked_s = float("-inf")

    async def get(self) -> ReadOnlyCredentials:
        """Return one consistent set; Unauthorized or TemporaryFailure, with the remedy, if there is none."""
        if self._frozen is None or _ends_within(self._found, _MARGIN_S):
            return await self._wait()
        if _ends_within(self._found) and self._monotonic_s() - self._looked_s >= _BESIDE_EVERY_S:
            self._look_up()
        return self._frozen

    def forget(self) -> None:
        """Look everything up anew the next time: a file or a variable may have changed since."""
        self._found = self._frozen = None

    async def _wait(self) -> ReadOnlyCredentials:
        looking = self._looking or self._look_up()
        try:
            async with asyncio.timeout(_WAIT_MAX_S):
                # Others may wait for the same look-up, and none of them is to end it.
                return await asyncio.shield(looking)
        except TimeoutError:
            text = f"the source of the AWS credentials has not answered for {_WAIT_MAX_S:.0f} s"
            raise TemporaryFailure(text, code="Timeout") from None

    def _look_up(self) -> asyncio.Task[ReadOnlyCredentials]:
        if self._looking is None:
            self._looked_s = self._monotonic_s()
            self._looking = asyncio.create_task(self._renew())
            self._looking.add_done_callback(self._end_look_up)
        return self._looking

    def _end_look_up(self, task: asyncio.Task[ReadOnlyCredentials]) -> None:
        self._looking = None
        # Whoever waits is told by the exception; beside, there is nobody to tell.
        if not task.cancelled() and (error := task.exception()) is not None and self._frozen is not None:
            log.warning("credentials_not_renewed", reason=str(error), retry_s=_BESIDE_EVERY_S)

    async def _renew(self) -> ReadOnlyCredentials:
        found = self._found
        found, frozen = await _on_a_thread(lambda: _look(self._open_session, found))
        for secret in (frozen.secret_key, frozen.token, frozen.access_key):
            if secret:
                self._add_secret(secret)
        self._found, self._frozen = found, frozen
        return frozen


def resolve_region(
    endpoint: str, configured: str | None, *, open_session: Callable[[], Session] = Session
) -> str:
    """Return the region to sign for: *configured*, else that of *endpoint*'s host, else AWS's settings.

    Reads the AWS config files if it gets that far. SettingsError if there is none.
    """
    # botocore reads AWS_DEFAULT_REGION alone; AWS's other SDKs and its own platforms know AWS_REGION.
    region = configured or region_of(endpoint) or os.environ.get("AWS_REGION")
    if region is None:
        try:
            region = open_session().get_config_variable("region")
        except aws.BotoCoreError as error:
            raise SettingsError([str(explain(error))]) from None
    if not region:
        raise SettingsError([_NO_REGION])
    return str(region)


def explain(error: Exception) -> DeliveryError:
    """Return what *error*, out of botocore's chain, means to a person and to a retry; free of its text."""
    if isinstance(error, aws.ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) or None
        code = str(error.response.get("Error", {}).get("Code", ""))
        if status is None or status == 429 or status >= 500 or "Throttl" in code:
            return TemporaryFailure(_UNREACHABLE, status=status, code=code)
        return Unauthorized(f"{_REFUSED} ({code})", status=status, code=code)
    for kind, meaning, text in _EXPLANATIONS:
        if isinstance(error, kind):
            return meaning(text, code=type(error).__name__)
    raise TypeError("an Exception fits the last line of the table")


def _ends_within(found: Credentials | None, seconds: int | None = None) -> bool:
    """Tell whether *found* ends within *seconds*, by default botocore's time to renew it; never blocks."""
    return isinstance(found, RefreshableCredentials) and bool(found.refresh_needed(seconds))


def _look(open_session: Callable[[], Session], found: Credentials | None) -> _Found:
    """Find credentials, or renew those that were *found*; blocks."""
    try:
        if found is None:
            found = open_session().get_credentials()
        if found is None:
            raise aws.NoCredentialsError
        return found, found.get_frozen_credentials()
    except Exception as error:  # noqa: BLE001  # what the table says about the last line
        raise explain(error) from None


async def _on_a_thread(work: Callable[[], _Found]) -> _Found:
    """Return what *work* returns, run on a thread that nobody waits for when the process ends."""
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
        except Exception as raised:  # noqa: BLE001  # handed on
            error = raised
        # The loop may be gone by now, and with it whoever asked.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, found, error)

    threading.Thread(target=run, name="credentials", daemon=True).start()
    return await result

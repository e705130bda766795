"""The AWS region that requests are signed for."""

import os
from collections.abc import Callable
from typing import Final

import botocore.exceptions as aws
from botocore.session import Session

from bot.api.credential_errors import explain
from bot.errors import SettingsError
from bot.settings.values import region_of

_NO_REGION: Final = (
    "VOICE_RELAY_AWS_REGION is not set, and neither VOICE_RELAY_API_ENDPOINT nor AWS's own settings name a "
    "region: set it to the stack's region"
)


def resolve_region(
    endpoint: str, configured: str | None, *, open_session: Callable[[], Session] = Session
) -> str:
    """Return *configured*, else the region in *endpoint*'s host name, else that of AWS's own settings.

    May read the AWS config files. Raises SettingsError if there is no region.
    """
    # botocore itself reads only AWS_DEFAULT_REGION; AWS's other SDKs and its platforms use AWS_REGION.
    region = configured or region_of(endpoint) or os.environ.get("AWS_REGION")
    if region is None:
        try:
            region = open_session().get_config_variable("region")
        except aws.BotoCoreError as error:
            raise SettingsError([str(explain(error))]) from None
    if not region:
        raise SettingsError([_NO_REGION])
    return str(region)

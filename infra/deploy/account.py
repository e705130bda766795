"""The target AWS account: credentials, region and service clients.

All of it comes from AWS's own settings (environment, profiles, single sign-on), as for the AWS CLI.
"""

import difflib
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

import botocore.config
import botocore.exceptions
import botocore.session

from bot.errors import SettingsError
from infra.deploy.aws_errors import DeployError, explain

_USER_AGENT: Final = f"voice-relay/{metadata.version('voice-relay')}"
_CONFIG: Final = botocore.config.Config(
    # Standard mode also backs off when throttled; CloudFormation throttles early in busy accounts.
    # https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
    retries={"mode": "standard", "total_max_attempts": 6},
    connect_timeout=10,
    read_timeout=60,
    user_agent_extra=_USER_AGENT,
)
# Usage errors that botocore raises before it asks AWS anything.
_WRONG_USAGE: Final = (
    botocore.exceptions.ProfileNotFound,
    botocore.exceptions.NoRegionError,
    botocore.exceptions.InvalidRegionError,
)


@dataclass(frozen=True)
class Account:
    """An AWS account and region, with the credentials to use it."""

    session: botocore.session.Session
    region: str
    id: str
    caller: str

    def client(self, service: str) -> Any:
        """Return a botocore client for *service*."""
        return self.session.create_client(service, region_name=self.region, config=_CONFIG)


def open_account(*, profile: str | None, region: str | None, known_region: str | None) -> Account:
    """Resolve credentials and region, and ask AWS who the caller is.

    *known_region* is the region of the relay in the settings file. It applies if neither *region* nor AWS's
    own settings name one. Raises SettingsError if AWS's own settings name a different region or a name is
    invalid, DeployError if AWS refuses the call.
    """
    session = botocore.session.Session(profile=profile)
    try:
        region = region or _find_region(session, known_region)
        sts: Any = session.create_client("sts", region_name=region, config=_CONFIG)
        identity = sts.get_caller_identity()
    except _WRONG_USAGE as error:
        raise SettingsError([f"AWS{f' in {region}' if region else ''}: {explain(error)}"]) from error
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        where = f"AWS in {region}" if region else "AWS"
        raise DeployError(f"{where}: {explain(error)}{_guess_region(session, region)}") from error
    return Account(session, region, identity["Account"], identity["Arn"])


def _find_region(session: botocore.session.Session, known_region: str | None) -> str:
    configured = session.get_config_variable("region")
    if configured and known_region and configured != known_region:
        problem = (
            f"AWS's own settings name the region {configured}, but the bot's settings name a relay in "
            f"{known_region}: choose one with --region {known_region} or --region {configured}"
        )
        raise SettingsError([problem])
    if not (configured or known_region):
        raise botocore.exceptions.NoRegionError
    return str(configured or known_region)


def _guess_region(session: botocore.session.Session, region: str | None) -> str:
    """Suggest a region if botocore does not know *region*."""
    try:
        known = [
            name
            for partition in session.get_available_partitions()
            for name in session.get_available_regions("cloudformation", partition)
        ]
    except botocore.exceptions.BotoCoreError:
        # The session itself failed.
        return ""
    if region is None or region in known:
        return ""
    near = difflib.get_close_matches(region, dict.fromkeys(known), n=len(known))
    # Every name that ties with the closest one.
    closest = [name for name in near if _similarity(region, name) == _similarity(region, near[0])]
    guess = f": did you mean {' or '.join(sorted(closest))}?" if closest else ""
    return f"; {region} is not a known region{guess}"


def _similarity(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, one).ratio()

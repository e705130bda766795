"""The AWS account that is deployed to: whose credentials, which region, and clients for its services.

Everything comes from AWS's own settings (environment, profiles, single sign-on), as it does for the AWS
command line.
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
    # Standard backs off from throttling, too. CloudFormation throttles early where many deploy at once.
    # https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
    retries={"mode": "standard", "total_max_attempts": 6},
    connect_timeout=10,
    read_timeout=60,
    user_agent_extra=_USER_AGENT,
)
# A name that was given, or was not, and not anything that AWS says.
_WRONG_USAGE: Final = (
    botocore.exceptions.ProfileNotFound,
    botocore.exceptions.NoRegionError,
    botocore.exceptions.InvalidRegionError,
)


@dataclass(frozen=True)
class Account:
    """An account in a region, seen through somebody's credentials."""

    session: botocore.session.Session
    region: str
    id: str
    caller: str

    def client(self, service: str) -> Any:
        """A botocore client for *service*."""
        return self.session.create_client(service, region_name=self.region, config=_CONFIG)


def open_account(*, profile: str | None, region: str | None, known_region: str | None) -> Account:
    """Find credentials and region, and ask AWS whose they are.

    *known_region* is where the relay is that the file of settings names. Where neither *region* nor AWS's own
    settings name one, it is taken; where AWS's own settings name another, somebody has to say which is meant:
    raises SettingsError, as it does for a name that is none, and DeployError for whatever AWS has against it.
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
            f"AWS's own settings name the region {configured}, but those of the bot a relay in "
            f"{known_region}: say which is meant, with --region {known_region} or --region {configured}"
        )
        raise SettingsError([problem])
    if not (configured or known_region):
        raise botocore.exceptions.NoRegionError
    return str(configured or known_region)


def _guess_region(session: botocore.session.Session, region: str | None) -> str:
    """A region that may be meant where *region* is none that botocore knows."""
    try:
        known = [
            name
            for partition in session.get_available_partitions()
            for name in session.get_available_regions("cloudformation", partition)
        ]
    except botocore.exceptions.BotoCoreError:
        # It was the session itself that failed.
        return ""
    if region is None or region in known:
        return ""
    near = difflib.get_close_matches(region, dict.fromkeys(known), n=len(known))
    # All that are as close as the closest.
    closest = [name for name in near if _likeness(region, name) == _likeness(region, near[0])]
    guess = f": did you mean {' or '.join(sorted(closest))}?" if closest else ""
    return f"; {region} is no region known here{guess}"


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, one).ratio()

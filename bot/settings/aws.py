"""AWS's own settings out of ``.env`` and the directory of secrets, where the environment leaves them open.

    who      AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE
    where    AWS_REGION, AWS_DEFAULT_REGION

Each of these groups comes from one place as a whole: a key of one place with the secret or the token of
another would be nobody's. The environment comes first, and there whatever else tells botocore whose
credentials to take, as in a container on AWS, keeps the files' out as well.
"""

import os
from pathlib import Path
from typing import Final

import botocore.exceptions as aws
from botocore.session import Session
from pydantic_settings import DotEnvSettingsSource

from bot.settings.settings import ENV_FILE, Settings, find_secrets_dir

_WHO: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
_WHERE: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_IN_FILES: Final = frozenset({*_WHO, *_WHERE})
_WHO_ELSE: Final = (
    "AWS_DEFAULT_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


def open_session(env_file: Path = ENV_FILE) -> Session:
    """Return a new botocore session with the settings as they are now; its chain starts with theirs.

    Reads files. Raises one of botocore's errors where a key id or a secret is there without the other.
    """
    who = _choose(_WHO, env_file, also=_WHO_ELSE)
    where = _choose(_WHERE, env_file)
    key, secret = who.get("AWS_ACCESS_KEY_ID"), who.get("AWS_SECRET_ACCESS_KEY")
    # As in botocore's chain, a key goes before a profile.
    session = Session(profile=None if key or secret else who.get("AWS_PROFILE"))
    if key and secret:
        session.set_credentials(key, secret, who.get("AWS_SESSION_TOKEN"))
    elif key or secret:
        missing = "AWS_SECRET_ACCESS_KEY" if key else "AWS_ACCESS_KEY_ID"
        raise aws.PartialCredentialsError(provider=str(env_file), cred_var=missing)
    region = where.get("AWS_REGION") or where.get("AWS_DEFAULT_REGION")
    if region:
        session.set_config_variable("region", region)
    return session


def _choose(names: tuple[str, ...], env_file: Path, *, also: tuple[str, ...] = ()) -> dict[str, str]:
    """Return what the first of the files has of *names*; nothing where the environment has any."""
    if any(os.environ.get(name) for name in (*names, *also)):
        return {}
    for found in (_read_env_file(env_file), _read_secrets()):
        values = {name: found[name] for name in names if found.get(name)}
        if values:
            return values
    return {}


def _read_env_file(path: Path) -> dict[str, str]:
    values = DotEnvSettingsSource(Settings, env_file=path).env_vars
    return {name.upper(): value.strip() for name, value in values.items() if value}


def _read_secrets() -> dict[str, str]:
    directory = find_secrets_dir()
    if directory is None:
        return {}
    files = ((path.name.upper(), path) for path in directory.iterdir())
    return {name: path.read_text().strip() for name, path in files if name in _IN_FILES}

"""AWS's own settings, from ``.env`` and the secrets directory, unless the environment has them.

    credentials    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE
    region         AWS_REGION, AWS_DEFAULT_REGION

Each group comes whole from one source, since a key id is useless with another key's secret. The environment
comes first: if it has a variable of a group, or one that leads botocore to a role, the files do not count.
"""

import os
from pathlib import Path
from typing import Final

import botocore.exceptions as aws
from botocore.session import Session

from bot.settings.sources import ENV_FILE, find_secrets_dir, read_env_file, read_secret

_CREDENTIALS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
_REGION: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_NAMES: Final = frozenset({*_CREDENTIALS, *_REGION})
_ENVIRONMENT_ONLY: Final = (
    "AWS_DEFAULT_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


def open_session(env_file: Path = ENV_FILE) -> Session:
    """Return a new botocore session with these settings at the head of its chain.

    Reads files. Raises one of botocore's errors if a key id or a secret stands alone.
    """
    credentials = _choose(_CREDENTIALS, env_file, unless=_ENVIRONMENT_ONLY)
    region = _choose(_REGION, env_file)
    key_id, secret = credentials.get("AWS_ACCESS_KEY_ID"), credentials.get("AWS_SECRET_ACCESS_KEY")
    # As in botocore's chain, a key comes before a profile.
    session = Session(profile=None if key_id or secret else credentials.get("AWS_PROFILE"))
    if key_id and secret:
        session.set_credentials(key_id, secret, credentials.get("AWS_SESSION_TOKEN"))
    elif key_id or secret:
        missing = "AWS_SECRET_ACCESS_KEY" if key_id else "AWS_ACCESS_KEY_ID"
        raise aws.PartialCredentialsError(provider=str(env_file), cred_var=missing)
    if name := region.get("AWS_REGION") or region.get("AWS_DEFAULT_REGION"):
        session.set_config_variable("region", name)
    return session


def _choose(names: tuple[str, ...], env_file: Path, *, unless: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the values of *names* in the first file that has any; nothing if the environment has any."""
    if any(os.environ.get(name) for name in (*names, *unless)):
        return {}
    for found in (_read_env_file(env_file), _read_secrets()):
        values = {name: found[name] for name in names if found.get(name)}
        if values:
            return values
    return {}


def _read_env_file(path: Path) -> dict[str, str]:
    return {name.upper(): value.strip() for name, value in read_env_file(path).items() if value}


def _read_secrets() -> dict[str, str]:
    directory = find_secrets_dir()
    if directory is None:
        return {}
    files = ((path.name.upper(), path) for path in directory.iterdir())
    return {name: read_secret(path) for name, path in files if name in _NAMES}

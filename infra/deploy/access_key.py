"""The access key of the bot's user: made once, written where the bot reads it, shown to nobody."""

from dataclasses import dataclass
from typing import Any, Final

from infra.deploy.aws_errors import DeployError, explained
from infra.deploy.env_file import EnvFile

KEY_ID: Final = "AWS_ACCESS_KEY_ID"
SECRET_KEY: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105  # the name of it
_SESSION_TOKEN: Final = "AWS_SESSION_TOKEN"  # noqa: S105  # the name of it

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_MAX_KEYS: Final = 2


@dataclass(frozen=True)
class AccessKeys:
    """The keys of the user *name*; each call is a request or two."""

    iam: Any
    name: str

    def ids(self) -> list[str]:
        """The ids of the user's keys; none where there is no such user."""
        with explained(f"user {self.name}"):
            try:
                pages = list(self.iam.get_paginator("list_access_keys").paginate(UserName=self.name))
            except self.iam.exceptions.NoSuchEntityException:
                return []
        return [key["AccessKeyId"] for page in pages for key in page["AccessKeyMetadata"]]

    def delete(self, key_id: str) -> None:
        with explained(f"access key {key_id} of user {self.name} was not deleted"):
            self.iam.delete_access_key(UserName=self.name, AccessKeyId=key_id)


def check_key(keys: AccessKeys, env_file: EnvFile, *, rotate: bool) -> None:
    """Raise DeployError where ``ensure_key`` would have to; asked before anything is changed."""
    held, ids = env_file.values().get(KEY_ID), keys.ids()
    if env_file.values().get(_SESSION_TOKEN):
        raise DeployError(
            f"{env_file.path} has an {_SESSION_TOKEN}, which goes with another key: take that line out of "
            "it, or name another file with --env-file"
        )
    if held and held not in ids:
        # It may be the only copy of somebody's key.
        raise DeployError(
            f"{env_file.path} has an {KEY_ID} that is not of the user {keys.name}: take that line and "
            f"{SECRET_KEY} out of it, or name another file with --env-file"
        )
    if len(ids) >= _MAX_KEYS and (rotate or not held):
        others = " or ".join(key_id for key_id in ids if key_id != held)
        raise DeployError(
            f"user {keys.name} has {_MAX_KEYS} access keys, which is all that IAM allows: see which nobody "
            f"uses with aws iam get-access-key-last-used --access-key-id {others}, then delete it with "
            f"aws iam delete-access-key --user-name {keys.name} --access-key-id {others}"
        )


def ensure_key(keys: AccessKeys, env_file: EnvFile, *, rotate: bool) -> list[str]:
    """Have a key of the user in the file; return what was done, in sentences.

    A key that is there and still counts stays, unless it is to be *rotated*: then there is a new one in the
    file before the old one goes.
    """
    check_key(keys, env_file, rotate=rotate)
    values = env_file.values()
    held = values.get(KEY_ID)
    if held and values.get(SECRET_KEY) and not rotate:
        return [f"{env_file.path} has an access key of the user {keys.name} already."]
    with explained(f"no access key was made for user {keys.name}"):
        made = keys.iam.create_access_key(UserName=keys.name)["AccessKey"]
    try:
        env_file.write({KEY_ID: made["AccessKeyId"], SECRET_KEY: made["SecretAccessKey"]})
    except BaseException:
        # Nobody will ever know it.
        keys.delete(made["AccessKeyId"])
        raise
    done = [f"Made an access key for the user {keys.name} and wrote it to {env_file.path}."]
    if held:
        keys.delete(held)
        done.append("Deleted the key that was there before: restart the bot, which still has that one.")
    return done

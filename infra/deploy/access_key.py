"""The access key of the bot's user: created once, written to the bot's settings file, never shown."""

from dataclasses import dataclass
from typing import Any, Final

from infra.deploy.aws_errors import DeployError, explained
from infra.deploy.env_file import EnvFile

KEY_ID: Final = "AWS_ACCESS_KEY_ID"
SECRET_KEY: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105  # a name, not a secret
_SESSION_TOKEN: Final = "AWS_SESSION_TOKEN"  # noqa: S105  # a name, not a secret

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_MAX_KEYS: Final = 2


@dataclass(frozen=True)
class AccessKeys:
    """The access keys of the user *name*; each call makes a request or two."""

    iam: Any
    name: str

    def ids(self) -> list[str]:
        """Return the ids of the user's keys; none if there is no such user."""
        with explained(f"user {self.name}"):
            try:
                pages = list(self.iam.get_paginator("list_access_keys").paginate(UserName=self.name))
            except self.iam.exceptions.NoSuchEntityException:
                return []
        return [key["AccessKeyId"] for page in pages for key in page["AccessKeyMetadata"]]

    def delete(self, key_id: str) -> None:
        with explained(f"could not delete access key {key_id} of user {self.name}"):
            self.iam.delete_access_key(UserName=self.name, AccessKeyId=key_id)


def check_key(keys: AccessKeys, env_file: EnvFile, *, rotate: bool) -> None:
    """Raise DeployError if ``ensure_key`` would fail; called before anything changes."""
    held, ids = env_file.values().get(KEY_ID), keys.ids()
    if env_file.values().get(_SESSION_TOKEN):
        raise DeployError(
            f"{env_file.path} has an {_SESSION_TOKEN}, which belongs to another key: remove that line, or "
            "name another file with --env-file"
        )
    if held and held not in ids:
        # The file may hold the only copy of that key.
        raise DeployError(
            f"{env_file.path} has an {KEY_ID} that does not belong to the user {keys.name}: remove that line "
            f"and {SECRET_KEY}, or name another file with --env-file"
        )
    if len(ids) >= _MAX_KEYS and (rotate or not held):
        others = " or ".join(key_id for key_id in ids if key_id != held)
        raise DeployError(
            f"user {keys.name} has {_MAX_KEYS} access keys, IAM's maximum: find an unused one with "
            f"aws iam get-access-key-last-used --access-key-id {others}, then delete it with "
            f"aws iam delete-access-key --user-name {keys.name} --access-key-id {others}"
        )


def ensure_key(keys: AccessKeys, env_file: EnvFile, *, rotate: bool) -> list[str]:
    """Make sure that the file has a key of the user; return what was done, in sentences.

    Only the owner can read the file then. An existing key stays unless *rotate* is set; then the new one is
    in the file before the old one is deleted.
    """
    check_key(keys, env_file, rotate=rotate)
    values = env_file.values()
    held = values.get(KEY_ID)
    env_file.make_private()
    if held and values.get(SECRET_KEY) and not rotate:
        return [f"{env_file.path} already has an access key of the user {keys.name}."]
    with explained(f"could not create an access key for user {keys.name}"):
        created = keys.iam.create_access_key(UserName=keys.name)["AccessKey"]
    try:
        env_file.write({KEY_ID: created["AccessKeyId"], SECRET_KEY: created["SecretAccessKey"]})
    except BaseException:
        # The key's secret is lost, so the key is useless.
        keys.delete(created["AccessKeyId"])
        raise
    done = [f"Created an access key for the user {keys.name} and wrote it to {env_file.path}."]
    if held:
        keys.delete(held)
        done.append("Deleted the previous key: restart the bot, which still uses it.")
    return done

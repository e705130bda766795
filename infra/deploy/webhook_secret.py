"""The Secrets Manager secret that holds the webhooks' URLs: JSON, with a key for each destination.

What is to be written is planned first and written later, once somebody has said yes to all of it. Its version
has an id before that, because the one who writes a version may choose its id; so the change set can name it.
"""

import json
import re
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.exceptions

from infra.deploy.aws_errors import DeployError, error_code, explained

_WEBHOOK_TOKEN = re.compile(r"(/webhooks/\d+/)[\w-]+")
_MASK = "…"


class ForeignSecretError(DeployError):
    """The secret is somebody else's, and is left alone."""


@dataclass(frozen=True)
class SecretPlan:
    """``version`` holds ``urls``, now or once the plan is carried out."""

    version: str
    urls: Mapping[str, str] = field(repr=False)
    is_new: bool
    changes: Mapping[str, str]
    """What happens to each destination whose URL does not stay: new, replaced, removed."""


class WebhookSecret:
    """The secret *name*, which may also be an ARN. Read once, by ``load_secret``."""

    def __init__(self, secrets: Any, name: str, urls: Mapping[str, str], version: str | None) -> None:
        self._secrets = secrets
        self.name = name
        self.urls = urls
        self._version = version

    @property
    def exists(self) -> bool:
        return self._version is not None

    def plan(self, given: Mapping[str, str], removed: Collection[str]) -> SecretPlan:
        """What the secret is to hold with *given* put in and *removed* taken out; others' keys stay."""
        urls = {name: url for name, url in {**self.urls, **given}.items() if name not in removed}
        changes = {name: "replaced" if name in self.urls else "new" for name in given}
        changes = {name: word for name, word in changes.items() if self.urls.get(name) != given[name]}
        changes |= {name: "removed" for name in removed if name in self.urls}
        if self._version is not None and not changes:
            return SecretPlan(self._version, urls, is_new=False, changes={})
        return SecretPlan(str(uuid.uuid4()), urls, is_new=True, changes=changes)

    def carry_out(self, plan: SecretPlan) -> None:
        """Write the version that the plan names, unless it is there."""
        if not plan.is_new:
            return
        document = json.dumps(plan.urls)
        with explained(f"the webhooks' URLs were not stored in secret {self.name}"):
            if not self.exists:
                self._create()
            self._secrets.put_secret_value(
                SecretId=self.name, SecretString=document, ClientRequestToken=plan.version
            )

    def _create(self) -> None:
        # Empty, so that the first version has the id that was planned, too.
        try:
            self._secrets.create_secret(
                Name=self.name, Description="Discord webhook URLs of Voice Relay, one for each destination."
            )
        except self._secrets.exceptions.ResourceExistsException:
            return

    def delete(self) -> None:
        """Delete the secret at once; nothing to do where there is none.

        One that waits for its deletion would be in the next deployment's way, and the URLs can be had from
        Discord again.
        """
        with explained(f"secret {self.name} was not deleted"):
            try:
                self._secrets.delete_secret(SecretId=self.name, ForceDeleteWithoutRecovery=True)
            except self._secrets.exceptions.ResourceNotFoundException:
                return


def load_secret(secrets: Any, name: str) -> WebhookSecret:
    """Read the secret *name*; one that is not there is empty."""
    with explained(f"secret {name} was not read"):
        try:
            held = secrets.get_secret_value(SecretId=name)
        except secrets.exceptions.ResourceNotFoundException:
            return WebhookSecret(secrets, name, {}, None)
        except botocore.exceptions.ClientError as error:
            if error_code(error) == "InvalidRequestException":
                raise DeployError(
                    f"secret {name} waits for its deletion: keep it with aws secretsmanager restore-secret "
                    f"--secret-id {name}, then run the same command again"
                ) from error
            raise
    return WebhookSecret(secrets, name, _parse_urls(name, held.get("SecretString")), held["VersionId"])


def _parse_urls(name: str, document: str | None) -> dict[str, str]:
    try:
        urls = json.loads(document or "")
    except ValueError:
        urls = None
    if not isinstance(urls, dict) or not all(isinstance(url, str) for url in urls.values()):
        raise ForeignSecretError(
            f"secret {name} holds something else than webhook URLs: name another one with "
            "--parameter WebhookSecret=NAME"
        )
    return urls


def mask_urls(text: str, urls: Iterable[str]) -> str:
    """Return *text* without the tokens of webhooks: those of *urls*, and whatever has the look of one.

    A service may quote what it refuses, and these URLs are among what it is given.
    """
    for url in urls:
        token = url.rstrip("/").rpartition("/")[2]
        if len(token) >= 8:
            text = text.replace(token, _MASK)
    return _WEBHOOK_TOKEN.sub(rf"\1{_MASK}", text)

"""The Secrets Manager secret with the webhook URLs: JSON, one key per destination.

Changes are planned first and written after the review. The writer of a secret version may choose its id, so
the plan has one and the change set can refer to it.
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
    """The secret does not hold webhook URLs and is left alone."""


@dataclass(frozen=True)
class SecretPlan:
    """``version`` holds ``urls``, now or once the plan is written."""

    version: str
    urls: Mapping[str, str] = field(repr=False)
    is_new: bool
    changes: Mapping[str, str]
    """What happens to each destination whose URL changes: new, replaced or removed."""


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
        """Plan the secret's content with *given* added and *removed* deleted; other keys stay."""
        urls = {name: url for name, url in {**self.urls, **given}.items() if name not in removed}
        changes = {name: "replaced" if name in self.urls else "new" for name in given}
        changes = {name: word for name, word in changes.items() if self.urls.get(name) != given[name]}
        changes |= {name: "removed" for name in removed if name in self.urls}
        if self._version is not None and not changes:
            return SecretPlan(self._version, urls, is_new=False, changes={})
        return SecretPlan(str(uuid.uuid4()), urls, is_new=True, changes=changes)

    def write(self, plan: SecretPlan) -> None:
        """Write the planned version unless it exists."""
        if not plan.is_new:
            return
        document = json.dumps(plan.urls)
        with explained(f"could not store the webhook URLs in secret {self.name}"):
            if not self.exists:
                self._create()
            self._secrets.put_secret_value(
                SecretId=self.name, SecretString=document, ClientRequestToken=plan.version
            )

    def _create(self) -> None:
        # Empty, so that the first version gets the planned id.
        try:
            self._secrets.create_secret(
                Name=self.name, Description="Discord webhook URLs of Voice Relay, one per destination."
            )
        except self._secrets.exceptions.ResourceExistsException:
            return

    def delete(self) -> None:
        """Delete the secret immediately, if it exists.

        A secret scheduled for deletion would block the next deployment, and Discord still has the URLs.
        """
        with explained(f"could not delete secret {self.name}"):
            try:
                self._secrets.delete_secret(SecretId=self.name, ForceDeleteWithoutRecovery=True)
            except self._secrets.exceptions.ResourceNotFoundException:
                return


def load_secret(secrets: Any, name: str) -> WebhookSecret:
    """Read the secret *name*; a missing one is empty."""
    with explained(f"could not read secret {name}"):
        try:
            held = secrets.get_secret_value(SecretId=name)
        except secrets.exceptions.ResourceNotFoundException:
            return WebhookSecret(secrets, name, {}, None)
        except botocore.exceptions.ClientError as error:
            if error_code(error) == "InvalidRequestException":
                raise DeployError(
                    f"secret {name} is scheduled for deletion: restore it with aws secretsmanager "
                    f"restore-secret --secret-id {name}, then run the same command again"
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
            f"secret {name} does not hold webhook URLs: name another one with --parameter WebhookSecret=NAME"
        )
    return urls


def mask_urls(text: str, urls: Iterable[str]) -> str:
    """Mask webhook tokens in *text*: those of *urls*, and anything that looks like one.

    A service may quote the input that it rejects, and that input includes these URLs.
    """
    for url in urls:
        token = url.rstrip("/").rpartition("/")[2]
        if len(token) >= 8:
            text = text.replace(token, _MASK)
    return _WEBHOOK_TOKEN.sub(rf"\1{_MASK}", text)

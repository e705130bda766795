"""Looks for secrets in the tree: ``python -m tooling.secret_scan``. Needs no network.

detect-secrets knows the forms of many services' secrets; a few that it lacks or overlooks are added here.
Outside the tests, a quoted string that looks random counts too, and a URL with a password. Tests need fakes:
each is listed by its value in .ci/fake-secrets.txt, so that it can move, and a secret beside it is found.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from detect_secrets.core.scan import scan_file
from detect_secrets.settings import transient_settings

ROOT: Final = Path(__file__).parents[2]
FAKES: Final = ROOT / ".ci" / "fake-secrets.txt"

_FORMS: Final = (
    "ArtifactoryDetector",
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "CloudantDetector",
    "DiscordBotTokenDetector",
    "GitHubTokenDetector",
    "IbmCloudIamDetector",
    "IbmCosHmacDetector",
    "JwtTokenDetector",
    "MailchimpDetector",
    "SendGridDetector",
    "SlackDetector",
    "SoftlayerDetector",
    "SquareOAuthDetector",
    "StripeDetector",
    "TwilioKeyDetector",
)
# Tests are full of random names and of URLs with passwords. The limits are detect-secrets' own defaults.
_OUTSIDE_TESTS: Final = (
    {"name": "BasicAuthDetector"},
    {"name": "Base64HighEntropyString", "limit": 4.5},
    {"name": "HexHighEntropyString", "limit": 3.0},
)
# The hashes of lock files look random; tooling.locks checks the form of each of their lines.
_TESTS_AND_LOCKS: Final = re.compile(r"tests/|requirements[a-z-]*\.txt$|\.ci/node/package-lock\.json$")
_OWN_FORMS: Final = {
    # A token has 68 characters. https://docs.discord.com/developers/resources/webhook
    "Discord Webhook": re.compile(r"webhooks/\d{17,20}/[\w-]{60,}"),
    # detect-secrets wants the key on the same line, and passes over files of more than 8 KB.
    "Private Key": re.compile(r"BEGIN (?:[A-Z0-9]+ ){0,2}PRIVATE KEY"),
    # detect-secrets finds only those in lower case, behind their name.
    "NPM tokens": re.compile(r"\bnpm_[A-Za-z0-9]{36}"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A place that may hold a secret, without the secret."""

    file: str
    line: int
    kind: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}"


def find_secrets(root: Path, names: Iterable[str], fakes: frozenset[str]) -> list[Finding]:
    """Return what may be a secret in the files of these *names* below *root*, except for the *fakes*."""
    all_names = list(names)
    apart = [name for name in all_names if _TESTS_AND_LOCKS.match(name)]
    by_form: list[dict[str, Any]] = [{"name": name} for name in _FORMS]
    found = []
    with transient_settings({"plugins_used": by_form}):
        found += [each for name in apart for each in _scan(root, name, fakes)]
    with transient_settings({"plugins_used": [*by_form, *_OUTSIDE_TESTS]}):
        found += [each for name in all_names if name not in apart for each in _scan(root, name, fakes)]
    return sorted(set(found), key=lambda each: (each.file, each.line, each.kind))


def _scan(root: Path, name: str, fakes: frozenset[str]) -> Iterator[Finding]:
    for secret in scan_file(str(root / name)):
        if secret.secret_value not in fakes:
            yield Finding(name, secret.line_number, secret.type)
    for number, line in enumerate((root / name).read_text(errors="replace").splitlines(), 1):
        for kind, form in _OWN_FORMS.items():
            if any(match[0] not in fakes for match in form.finditer(line)):
                yield Finding(name, number, kind)


def list_files(root: Path) -> list[str]:
    """Return the files that are or could be committed."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return [name for name in names if name and (root / name).is_file()]


def read_fakes(text: str) -> frozenset[str]:
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def main() -> int:
    found = find_secrets(ROOT, list_files(ROOT), read_fakes(FAKES.read_text()))
    sys.stdout.writelines(f"{each}\n" for each in found)
    if found:
        sys.stdout.write(
            "Revoke a real one, and remove it from the history too. List a fake in .ci/fake-secrets.txt.\n"
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

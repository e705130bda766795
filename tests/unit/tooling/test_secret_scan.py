"""The scan finds a planted secret of every form, and passes over the listed fakes only.

The secrets are put together here, so that this file holds none.
"""

import base64
import random
import string
import subprocess
from pathlib import Path

import pytest

from tooling import secret_scan
from tooling.secret_scan import FAKES, ROOT, find_secrets, list_files, read_fakes

NO_FAKES: frozenset[str] = frozenset()


def made(characters: str, count: int) -> str:
    return "".join(random.Random(7).choices(characters, k=count))


LETTERS = string.ascii_letters + string.digits
AWS_KEY = f"AKIA{made(string.ascii_uppercase, 16)}"
DISCORD_TOKEN = ".".join((base64.b64encode(b"112233445566778899").decode(), "GhIjKl", made(LETTERS, 38)))
RANDOM_STRING = made(LETTERS, 40)
PLANTED = {
    "AWS key": AWS_KEY,
    "Discord token": DISCORD_TOKEN,
    "Discord webhook": f"https://discord.com/api/webhooks/112233445566778899/{made(LETTERS, 68)}",
    "GitHub token": f"ghp_{made(LETTERS, 36)}",
    "JSON Web Token": ".".join(("eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0In0", made(LETTERS, 43))),
    "npm token": f"//registry.example/:_authToken=npm_{made(LETTERS, 36)}",
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "Slack token": "-".join(("xoxb", "123456789012", "123456789012", made(LETTERS, 24))),
}


def plant(root: Path, name: str, *lines: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in ("first line", *lines)))


@pytest.mark.parametrize("name", ["bot/x.py", "tests/x.py", ".env.old", "notes.md", "requirements.txt"])
@pytest.mark.parametrize("kind", PLANTED)
def test_finds_planted_secret(tmp_path: Path, kind: str, name: str) -> None:
    plant(tmp_path, name, f'value = "{PLANTED[kind]}"')

    found = find_secrets(tmp_path, [name], NO_FAKES)

    assert {(each.file, each.line) for each in found} == {(name, 2)}
    assert not any(PLANTED[kind] in str(each) for each in found)


@pytest.mark.parametrize("value", [RANDOM_STRING, f"https://admin:{made(LETTERS, 12)}@host.example/"])
def test_finds_more_outside_tests(tmp_path: Path, value: str) -> None:
    """A test may use a random name or a URL with a password; elsewhere both are suspicious."""
    for name in ("bot/x.py", "infra/y.yaml", "tests/x.py"):
        plant(tmp_path, name, f'value = "{value}"')

    found = find_secrets(tmp_path, ["bot/x.py", "infra/y.yaml", "tests/x.py"], NO_FAKES)

    assert [(each.file, each.line) for each in found] == [("bot/x.py", 2), ("infra/y.yaml", 2)]


def test_passes_over_listed_fakes_only(tmp_path: Path) -> None:
    """A real secret beside a fake is found."""
    fake = f"AKIA{made(string.digits, 16)}"
    plant(tmp_path, "tests/x.py", fake, AWS_KEY, f"{fake} {DISCORD_TOKEN}")

    found = find_secrets(tmp_path, ["tests/x.py"], frozenset({fake}))

    assert [(each.line, each.kind) for each in found] == [(3, "AWS Access Key"), (4, "Discord Bot Token")]


def test_scans_what_could_be_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file counts before it is added; an ignored one, such as .env, does not."""
    plant(tmp_path, ".gitignore", ".env")
    plant(tmp_path, ".env", AWS_KEY)
    plant(tmp_path, "new file.txt", "nothing")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    monkeypatch.setattr(secret_scan, "ROOT", tmp_path)

    assert sorted(list_files(tmp_path)) == [".gitignore", "new file.txt"]
    assert secret_scan.main() == 0
    plant(tmp_path, "new file.txt", DISCORD_TOKEN)
    assert secret_scan.main() == 1


def test_says_where_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path, "notes.md", AWS_KEY)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    monkeypatch.setattr(secret_scan, "ROOT", tmp_path)

    assert secret_scan.main() == 1
    told = capsys.readouterr().out
    assert told.startswith("notes.md:2: AWS Access Key\n")
    assert "Revoke" in told
    assert AWS_KEY not in told


def test_every_fake_is_in_use() -> None:
    """One that is not would hide a real secret of that value; commented lines and blank ones are none."""
    fakes = read_fakes(FAKES.read_text())
    assert fakes
    assert not [each for each in fakes if each.startswith("#") or not each.strip()]
    texts = [(ROOT / name).read_text(errors="replace") for name in list_files(ROOT) if ROOT / name != FAKES]
    assert not [fake for fake in fakes if not any(fake in text for text in texts)]


def test_check_runs_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    check = makefile[makefile.index("\ncheck:") : makefile.index("\naudit:")]
    assert "$(TOOLING).secret_scan\n" in check

"""Editing .env files: one value changes and not a character of the rest."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from infra.deploy.aws_errors import DeployError
from infra.deploy.env_file import EnvFile, set_values

URL = "https://abc.execute-api.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("", "K=v\n", id="a new file"),
        pytest.param("A=1\n", "A=1\nK=v\n", id="a new line comes last"),
        pytest.param("A=1", "A=1\nK=v\n", id="the last line had no newline"),
        pytest.param("K=old\nA=1\n", "K=v\nA=1\n", id="the line stays where it is"),
        pytest.param("K=\n", "K=v\n", id="an empty value is filled"),
        pytest.param("K=v\n", "K=v\n", id="nothing to do"),
        pytest.param("K='v'\n", "K='v'\n", id="the same value in quotes stays"),
        pytest.param("K=a\nB=1\nK=b\n", "K=a\nB=1\nK=v\n", id="the last of two wins"),
        pytest.param("#K=example\nA=1\n", "#K=example\nK=v\nA=1\n", id="an example stays, the line follows"),
        pytest.param("# K = example", "# K = example\nK=v\n", id="an example without a newline"),
        pytest.param("#K=e\nA=1\nK=b\n", "#K=e\nA=1\nK=v\n", id="a setting takes precedence over an example"),
        pytest.param(
            "#KEY=1\n#OK=1\n# about K\n", "#KEY=1\n#OK=1\n# about K\nK=v\n", id="examples of other names"
        ),
        pytest.param("A=1\r\n\r\nK=old\r\n", "A=1\r\n\r\nK=v\r\n", id="line endings stay"),
        pytest.param("A=1\r\n", "A=1\r\nK=v\r\n", id="a new line uses the same ending"),
        pytest.param(
            "\n\nexport  K = 'old' # why\n\n", "\n\nexport  K =v # why\n\n", id="surrounding text stays"
        ),
        pytest.param('A="1\nK=no\n2"\nK="x\ny"\nB=2\n', 'A="1\nK=no\n2"\nK=v\nB=2\n', id="multi-line values"),
        pytest.param("\ufeffA=1\nK=o\n", "\ufeffA=1\nK=v\n", id="a byte order mark"),
        pytest.param("k=old\n", "k=v\n", id="a name in another case"),
        pytest.param("not a setting\nK=old\n", "not a setting\nK=v\n", id="an invalid line"),
    ],
)
def test_sets_a_value(before: str, after: str) -> None:
    assert set_values(before, {"K": "v"}) == after


_LINES = st.lists(
    st.sampled_from(
        [
            "A=1",
            "K=old",
            "#K=example",
            "# a comment",
            "",
            "export B='x y'",
            'C="two\nlines"',
            "K = 'q' # c",
            "D",
        ]
    ),
    max_size=8,
)


@given(lines=_LINES, end=st.sampled_from(["\n", "\r\n"]), ended=st.booleans())
def test_preserves_other_values(lines: list[str], end: str, ended: bool) -> None:
    """python-dotenv reads the new value, and every other value as before."""
    import io

    text = end.join(lines) + (end if ended else "")

    after = set_values(text, {"K": URL})

    read = dotenv_values(stream=io.StringIO(after, newline=""))
    assert read["K"] == URL
    before = dotenv_values(stream=io.StringIO(text, newline=""))
    assert {name: value for name, value in read.items() if name != "K"} == {
        name: value for name, value in before.items() if name != "K"
    }
    assert set_values(after, {"K": URL}) == after


def test_refuses_value_needing_quotes() -> None:
    with pytest.raises(ValueError, match="quotes"):
        set_values("", {"K": "a b"})


def test_new_file_is_private(tmp_path: Path) -> None:
    file = EnvFile(tmp_path / ".env")

    assert file.write({"K": "v"}) == ["K"]

    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert not file.readable_by_others()
    assert file.values() == {"K": "v"}


def test_keeps_file_permissions(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    path.chmod(0o640)

    EnvFile(path).write({"K": "v"})

    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert EnvFile(path).readable_by_others()


def test_keeps_symlink(tmp_path: Path) -> None:
    target = tmp_path / "settings"
    target.write_text("A=1\n")
    link = tmp_path / ".env"
    link.symlink_to(target)

    EnvFile(link).write({"K": "v"})

    assert link.is_symlink()
    assert target.read_text() == "A=1\nK=v\n"


def test_writes_nothing_if_unchanged(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("K=v\n")
    before = path.stat().st_ino

    assert EnvFile(path).write({"K": "v"}) == []

    assert path.stat().st_ino == before


def test_failed_write_keeps_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(DeployError, match="cannot be written: No space left"):
        EnvFile(path).write({"K": "v"})

    assert path.read_text() == "A=1\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["nowhere/.env", "."])
def test_check_reports_unwritable_path(tmp_path: Path, place: str) -> None:
    with pytest.raises(DeployError, match="cannot be"):
        EnvFile(tmp_path / place).check()


def test_reports_undecodable_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(DeployError, match="not UTF-8 text"):
        EnvFile(path).values()


def test_makes_file_private(tmp_path: Path) -> None:
    file = EnvFile(tmp_path / ".env")
    file.make_private()
    assert not file.path.exists()
    file.path.write_text("A=1\n")
    file.path.chmod(0o644)
    file.make_private()
    file.write({"K": "v"})
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", [".env", ".env.bak", ".env.production", "..env.x1y2z3", "secrets/token"])
def test_git_ignores_secrets(name: str) -> None:
    """A copy, or what a killed edit leaves, is not committed by mistake."""
    done = subprocess.run(["git", "check-ignore", "--quiet", name], cwd=Path(__file__).parent, check=False)
    assert done.returncode == 0


def test_git_keeps_example() -> None:
    command = ["git", "check-ignore", "--quiet", "--no-index", ".env.example"]
    assert subprocess.run(command, cwd=Path(__file__).parent, check=False).returncode == 1

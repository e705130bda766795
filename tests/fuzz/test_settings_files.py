"""``.env`` and files of secrets, whatever is in them: settings, or errors that repeat no value."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import botocore.exceptions as aws
import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from bot.errors import SettingsError
from bot.settings.aws import open_session
from bot.settings.settings import Settings, load_rules_settings, load_settings
from bot.settings.sources import PREFIX
from infra.deploy.aws_errors import DeployError
from infra.deploy.env_file import EnvFile
from tests.support.settings import TOKEN, WEBHOOK

SECRETS: Final = (TOKEN, WEBHOOK.rpartition("/")[2], "wJalrXUtnFEMI/K7MDENG")
_NAMES: Final = st.sampled_from(
    [
        *(PREFIX + name.upper() for name in Settings.model_fields),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"),
        *(PREFIX + "TOKEN", "export A", "", "\x1b", "${A}"),
    ]
)
_VALUES: Final = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [*SECRETS, WEBHOOK, "0", "-1", "nan", "1e999", "9" * 5000, "0,1", "../x", "\x00", "é", "\ud800"]
    ),
    st.sampled_from(['"', "'", "${HOME}", "${A", "$(id)", "\\n", "#", "http://[", "https://h:99999", "[::1"]),
)
_LINES: Final = st.one_of(st.tuples(_NAMES, _VALUES).map("=".join), st.text(max_size=30))
_CONTENT: Final = st.binary(max_size=60) | _VALUES.map(lambda text: text.encode(errors="surrogatepass"))
CONTENTS: Final = st.one_of(
    st.binary(max_size=200),
    st.lists(_LINES, max_size=8).map(lambda lines: "\n".join(lines).encode(errors="surrogatepass")),
)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISCORD_TOKEN", "API_ENDPOINT", "SECRETS_DIR"):
        monkeypatch.delenv(PREFIX + name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@given(CONTENTS)
@example(b"VOICE_RELAY_DISCORD_TOKEN='" + b"\\" * 20_000)
@example(b"=" * 20_000)
def test_env_file_is_settings_or_problems(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / ".env"
        path.write_bytes(content)
        for load in (load_settings, load_rules_settings):
            try:
                load(env_file=path)
            except SettingsError as error:
                check(str(error), error.problems)
        try:
            open_session(path)
        except (aws.BotoCoreError, UnicodeDecodeError) as error:
            check(str(error), [error])


@given(CONTENTS, st.sampled_from(["A", "AWS_ACCESS_KEY_ID"]))
def test_edit_keeps_other_values(content: bytes, name: str) -> None:
    """What deploy writes is read again, and everything else as before."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / ".env"
        path.write_bytes(content)
        file = EnvFile(path)
        try:
            before = file.values()
            file.write({name: "new"})
        except DeployError as error:
            check(str(error), [str(error)])
            return
        assert file.values() == {**before, name: "new"}


@given(st.sampled_from(sorted(Settings.model_fields)), _CONTENT)
def test_secret_file_is_setting_or_problem(field: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setenv(PREFIX + "SECRETS_DIR", directory)
        (Path(directory) / (PREFIX + field).lower()).write_bytes(content)
        try:
            load_settings(env_file=None)
        except SettingsError as error:
            check(str(error), error.problems)


def check(text: str, problems: Sequence[object]) -> None:
    assert not any(secret in text for secret in SECRETS)
    assert problems

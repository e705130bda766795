"""The file with the APIs that workflows call in single-machine mode."""

from pathlib import Path

import pytest

from bot.errors import SettingsError
from infra.deploy.stack_kinds import CONNECTION, STACK_KINDS
from infra.local import connections
from infra.local.connections import load_connections

LOGIN = """\
[report]
url = "https://crm.example.org/api/voice/"
auth = "login"
token_url = "https://crm.example.org/login"
token_field = "data.token"
username = "voice-relay"
password = "planted-password"
"""


def _problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "connections.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_connections(path)
    prefix = f"VOICE_RELAY_CONNECTIONS_FILE: {path}"
    assert all(problem.startswith(prefix) for problem in caught.value.problems)
    assert "planted" not in str(caught.value)
    return [problem.removeprefix(prefix).removeprefix(": ") for problem in caught.value.problems]


def test_reads_every_table(tmp_path: Path) -> None:
    """A table for each workflow; the shape of the text does not matter."""
    path = tmp_path / "connections.toml"
    path.write_text("\ufeff" + LOGIN + '[zaps]\nurl = "https://hooks.example.org/1"\nauth = "none"\n')

    found = load_connections(path)

    assert found["report"].parameters == {
        "Url": "https://crm.example.org/api/voice",
        "Auth": "login",
        "TokenUrl": "https://crm.example.org/login",
        "TokenField": "data.token",
    }
    given = found["report"].credentials
    assert {name: value.get_secret_value() for name, value in given.items()} == {
        "username": "voice-relay",
        "password": "planted-password",
    }
    assert found["zaps"].credentials == {}
    assert "planted" not in repr(found)
    assert load_connections(None) == {}


def test_template_has_every_parameter() -> None:
    """What stands in the file is a parameter of the template, under its own name in lower case."""
    template = STACK_KINDS[CONNECTION].template.read_text(encoding="utf-8")
    for key, parameter in connections._PARAMETERS.items():
        assert f"\n  {parameter}:\n" in template
        assert key.replace("_", "") == parameter.lower()


@pytest.mark.parametrize(
    ("replaced", "by", "problem"),
    [
        (
            'auth = "login"',
            "",
            "[report]: auth says how the API knows its caller: one of none, api-key, basic",
        ),
        ('auth = "login"', "auth = []", "[report]: auth says how the API knows its caller"),
        (
            'password = "planted-password"',
            "",
            "[report]: password is missing: login takes username and password",
        ),
        ('"planted-password"', '""', "[report]: password must be a text of 1 to 512 printable characters"),
        ('"planted-password"', "7", "[report]: password must be a text of 1 to 512 printable characters"),
        ("password =", "key =", '[report]: auth = "login" takes no key: remove it, or choose api-key'),
        ("password =", "pasword =", "[report]: unknown key: did you mean password?"),
        ("token_field", "planted-x", "[report]: unknown key: there are url, auth, token_url"),
        ('"data.token"', "1", "[report]: token_field must be a text, in quotes"),
        (
            "token_url =",
            "key_header =",
            "[report]: token_url is missing: it is where the API gives out tokens",
        ),
        (
            "https://crm",
            "http://crm",
            "[report]: url must be an https URL without query and user; plain http",
        ),
        ("/login", "/login?planted", "[report]: token_url must be an https URL without query and user"),
        ("https://crm", "https://planted@crm", "[report]: url must be an https URL without query and user"),
        ('url = "https://crm.example.org/api/voice/"', "", "[report]: url is missing"),
        ("[report]", "", "a key stands outside a table: begin one with the workflow's name in brackets"),
        ("[report]", "[report", " is not valid TOML: "),
    ],
)
def test_names_each_problem(tmp_path: Path, replaced: str, by: str, problem: str) -> None:
    """Without the value, which may be a credential under a wrong key."""
    assert replaced in LOGIN

    assert any(found.startswith(problem) for found in _problems(tmp_path, LOGIN.replace(replaced, by)))


def test_reports_all_problems_at_once(tmp_path: Path) -> None:
    text = '[report]\nauth = "oauth"\n[zaps]\nauth = "nothing"\n'

    assert len(_problems(tmp_path, text)) == 5


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'[report]\nurl = "\xe9"\n')

    with pytest.raises(
        SettingsError, match=r"VOICE_RELAY_CONNECTIONS_FILE: .*missing cannot be read \(No such"
    ):
        load_connections(tmp_path / "missing")
    with pytest.raises(SettingsError, match=r"latin\.toml is not UTF-8 text: save it as UTF-8"):
        load_connections(tmp_path / "latin.toml")
    with pytest.raises(SettingsError, match=r"cannot be read \(Is a directory\)"):
        load_connections(tmp_path)

"""Further permissions: too wide ones, and what is no list of statements, are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from bot.errors import SettingsError
from infra.deploy.policy_file import read_policy

SOUND = {"Effect": "Allow", "Action": ["s3:Get*"], "Resource": {"Fn::Sub": "arn:${AWS::Partition}:s3:::b/*"}}


def _read(folder: Path, text: str) -> Any:
    path = folder / "own.policy.json"
    path.write_text(text)
    return read_policy(path)


@pytest.mark.parametrize(
    "statement",
    [
        SOUND,
        {**SOUND, "Action": "sqs:*", "Resource": "arn:aws:sqs:us-east-1:123456789012:q"},
        {**SOUND, "Action": "ec2:DescribeInstances", "Resource": "*"},
        {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"},
    ],
)
def test_takes_statements(tmp_path: Path, statement: dict[str, Any]) -> None:
    assert _read(tmp_path, json.dumps([statement])) == [statement]


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ({**SOUND, "Action": "*", "Resource": "*"}, "allows every action"),
        ({**SOUND, "Action": ["s3:GetObject", "*:*"]}, "allows every action"),
        ({**SOUND, "Action": "s3:*", "Resource": ["*"]}, "allows all of a service on every resource"),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, "allows everything but NotAction"),
        (
            {"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "x"},
            "allows everything but NotResource",
        ),
        ({**SOUND, "Effect": "allow"}, 'needs "Effect": "Allow" or "Deny"'),
        ({"Effect": "Allow", "Resource": "*"}, "needs Action"),
        ({"Effect": "Allow", "Action": "s3:GetObject"}, "needs Resource"),
        ({**SOUND, "Principal": "*"}, "has Principal, which a role's policy does not take"),
        ("s3:GetObject", "is not an object"),
    ],
)
def test_refuses_statement(tmp_path: Path, statement: Any, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _read(tmp_path, json.dumps([SOUND, statement]))

    assert f"statement 2 {sentence}" in caught.value.problems[0]


@pytest.mark.parametrize(
    "text", ["[]", "{}", '"x"', json.dumps({"Version": "2012-10-17", "Statement": [SOUND]})]
)
def test_wants_a_list(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="must be a list of IAM statements, like"):
        _read(tmp_path, text)


@pytest.mark.parametrize(
    ("written", "sentence"), [("{", "is not JSON"), (None, "cannot be read: No such file")]
)
def test_unreadable_file_is_named(tmp_path: Path, written: str | None, sentence: str) -> None:
    path = tmp_path / "own.policy.json"
    if written is not None:
        path.write_text(written)

    with pytest.raises(SettingsError, match=sentence):
        read_policy(path)

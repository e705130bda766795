"""Parsing an execution's ARN, and explaining anything else."""

import pytest

from bot.api.execution_arn import check_region, parse_execution_arn
from bot.errors import SettingsError

ARN = "arn:aws:states:eu-central-1:123456789012:execution:voice-relay-notify:1-01JD"


def nothing(_: str) -> None:
    return None


@pytest.mark.parametrize(
    "text",
    [ARN, f" {ARN}\n", ARN.replace("arn:aws:", "arn:aws-us-gov:").replace("eu-central-1", "us-gov-west-1")],
)
def test_parses_arn(text: str) -> None:
    arn = parse_execution_arn(text, nothing)
    assert arn.text == text.strip()
    assert (arn.region, arn.machine, arn.name) == (arn.text.split(":")[3], "voice-relay-notify", "1-01JD")


def test_looks_up_name_in_receipts() -> None:
    asked: list[str] = []

    def find(name: str) -> str:
        asked.append(name)
        return ARN

    assert parse_execution_arn("1-01JD", find).text == ARN
    assert asked == ["1-01JD"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1-01JD", "no receipt of an execution with that name: give the whole ARN, like arn:.*trace"),
        ("", "give the whole ARN"),
        ("two words", "give the whole ARN"),
        (ARN.replace(":execution:", ":stateMachine:").rpartition(":")[0], "of a state machine: give"),
        (ARN.replace(":execution:", ":express:") + ":uuid", "of an Express execution, .* no record"),
        (ARN.replace(":execution:", ":activity:"), "is not the ARN of an execution: give one like arn:"),
        (ARN.replace(":states:", ":lambda:"), "is not the ARN of an execution"),
        (ARN.replace("123456789012", "12"), "is not the ARN of an execution"),
        (ARN + ":more", "is not the ARN of an execution"),
        (ARN.rpartition(":")[0], "is not the ARN of an execution"),
    ],
)  # fmt: skip
def test_explains_other_input(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        parse_execution_arn(text, nothing)


def test_escapes_and_cuts_input() -> None:
    """What was typed can neither steer the terminal nor fill it."""
    with pytest.raises(SettingsError) as caught:
        parse_execution_arn("\x1b[2J" + "x" * 5000, nothing)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_explains_receipt_of_express() -> None:
    with pytest.raises(SettingsError, match="is the ARN of an Express execution"):
        parse_execution_arn("1-01JD", lambda _: ARN.replace(":execution:", ":express:") + ":uuid")


def test_refuses_other_region() -> None:
    arn = parse_execution_arn(ARN, nothing)
    check_region(arn, "eu-central-1")
    with pytest.raises(SettingsError, match=r"is in eu-central-1, but the API .* is in us-east-1"):
        check_region(arn, "us-east-1")

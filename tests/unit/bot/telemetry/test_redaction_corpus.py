"""Texts with and without secrets, each alone and in whatever may surround it."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from bot.telemetry.secret_patterns import mask_secrets
from tests.support import secret_samples

CORPUS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("redaction_corpus.toml").read_text())
READABLE: list[str] = CORPUS["readable"]


def fill(text: str) -> str:
    """Return *text* with the secrets that it names."""
    for name in (
        "ACCESS_KEY",
        "AUTHORIZATION",
        "BOT_TOKEN",
        "WEBHOOK",
        "SECRET_KEY",
        "SESSION_TOKEN",
        "SIGNATURE",
    ):
        text = text.replace(f"{{{name}}}", getattr(secret_samples, name))
    return text


SECRET = [(fill(each["text"]), [fill(hidden) for hidden in each["hides"]]) for each in CORPUS["secret"]]
CARRIERS: list[Callable[[str], str]] = [
    str,
    repr,
    lambda text: json.dumps({"message": text}),
    lambda text: json.dumps(json.dumps([text])),
    lambda text: repr({"a": text}),
    lambda text: f"refused ({text})",
    lambda text: f"{text}; try again",
]
JOINTS = st.sampled_from(["; ", ", ", "\n", " | ", " - "])


@pytest.mark.parametrize("text", READABLE)
def test_readable_text_stays(text: str) -> None:
    assert mask_secrets(text) == text


@pytest.mark.parametrize(("text", "hidden"), SECRET)
def test_secret_text_is_masked(text: str, hidden: list[str]) -> None:
    assert not [each for each in hidden if each in mask_secrets(text)]


@pytest.mark.parametrize(("text", "hidden"), SECRET)
@pytest.mark.parametrize("carry", [repr, json.dumps])
def test_secret_is_masked_after_escaped_line_break(
    text: str, hidden: list[str], carry: Callable[[str], str]
) -> None:
    masked = mask_secrets(carry(f"not this\n{text}"))
    assert not [each for each in hidden if each in masked]


@given(
    texts=st.lists(st.sampled_from(READABLE), min_size=1, max_size=4),
    joint=JOINTS,
    carry=st.sampled_from(CARRIERS),
)
def test_readable_texts_stay_together(texts: list[str], joint: str, carry: Callable[[str], str]) -> None:
    text = carry(joint.join(texts))
    assert mask_secrets(text) == text


@given(
    before=st.lists(st.sampled_from(READABLE), max_size=3),
    secret=st.sampled_from(SECRET),
    after=st.lists(st.sampled_from([*READABLE, *(text for text, _ in SECRET)]), max_size=3),
    joint=JOINTS,
    carry=st.sampled_from(CARRIERS),
)
def test_secret_is_masked_among_others(
    before: list[str],
    secret: tuple[str, list[str]],
    after: list[str],
    joint: str,
    carry: Callable[[str], str],
) -> None:
    text, hidden = secret
    masked = mask_secrets(carry(joint.join([*before, text, *after])))
    assert not [each for each in hidden if each in masked]
    assert mask_secrets(masked) == masked


def test_readable_texts_hold_no_secret() -> None:
    """Otherwise the texts of both kinds could not be told apart once they are joined."""
    assert not [each for _, hidden in SECRET for each in hidden if any(each in text for text in READABLE)]

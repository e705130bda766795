"""Whatever is logged, in either format: a line each, without secrets, that no reader takes for two."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
import structlog
from hypothesis import example, given

from bot.telemetry.logs import configure_logging
from tests.support.secret_samples import ACCESS_KEY, BOT_TOKEN, SESSION_TOKEN, WEBHOOK

KNOWN = "a-known-secret/value+123456"
SECRETS = (KNOWN, SESSION_TOKEN, BOT_TOKEN, ACCESS_KEY, WEBHOOK.rpartition("/")[2])
CARRIERS = (
    "{}",
    "token={}",
    "x\u200b{}",
    "Authorization: Bot {}",
    '{{"password": "{}"}}',
    "\x1b[2J{}\u2028",
    "({})",
)
TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["\ud800", "\u2028", "\x85\x9b", "\x1b[2J", "\r\nforged", "%s %d {} {0}", "x" * 5000, "\\" * 300]
    ),
    st.builds(
        str.format, st.sampled_from(CARRIERS), st.sampled_from((KNOWN, SESSION_TOKEN, BOT_TOKEN, WEBHOOK))
    ),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.integers(), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(ValueError, inner)
    ),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.root
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


def deep(levels: int) -> Any:
    value: Any = KNOWN
    for _ in range(levels):
        value = [value]
    return value


@given(event=TEXTS, value=VALUES, failure=st.none() | TEXTS)
@example(event="deep", value=deep(300), failure=None)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_lines_are_plain(log_format: Any, event: str, value: Any, failure: str | None) -> None:
    output = io.StringIO()
    configure_logging(log_format, "info", [KNOWN, SESSION_TOKEN], output)
    structlog.get_logger("bot.fuzz").info(event, value=value)
    logging.getLogger("fuzz").warning("%s", value)
    try:
        if failure is not None:
            raise ValueError(failure)
    except ValueError:
        structlog.get_logger("bot.fuzz").exception("failed", value=value)
    written = output.getvalue()
    assert not [secret for secret in SECRETS if secret in written]
    lines = written.removesuffix("\n").split("\n")
    assert all(line.replace("\t", "").isprintable() for line in lines)
    if log_format == "json":
        assert len(lines) == 2 + (failure is not None)
        assert all(isinstance(json.loads(line), dict) for line in lines)

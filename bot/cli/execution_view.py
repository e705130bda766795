"""An execution as it is shown: in lines to people, as plain data to programs."""

import json
from typing import Any, Final

from bot.api.execution_arn import ExecutionArn
from bot.api.executions import SUCCEEDED, Execution
from bot.cli.refusal import explain_refusal
from bot.clock import format_ms
from bot.telemetry.secret_patterns import mask_secrets
from bot.text import escape, join_blocks, render_facts, render_json, render_moment, render_span

_MINUTE_MS: Final = 60_000


def render_execution(found: Execution, arn: ExecutionArn, now_ms: int) -> list[str]:
    """Return lines about an execution, with its input and output as indented JSON."""
    facts = [
        ("arn", found.arn),
        ("status", found.status),
        ("started", render_moment(found.started_ms, now_ms)),
    ]
    if found.ended_ms is not None:
        facts.append(("ended", render_moment(found.ended_ms, now_ms)))
        facts.append(("took", render_length(found.ended_ms - found.started_ms)))
    if found.error is not None:
        facts.append(("error", found.error))
    return join_blocks(
        [f"execution {escape(arn.name)} of {escape(arn.machine)}", *render_facts(facts, indent="  ")],
        _render_text("cause", None if found.cause is None else mask_secrets(found.cause)),
        _render_text("input", found.input),
        _render_text("output", found.output),
    )


def describe_execution(found: Execution) -> dict[str, Any]:
    """Return an execution as plain data, with the names that Step Functions uses."""
    ended_ms = found.ended_ms
    return {
        "executionArn": found.arn,
        "name": found.name,
        "status": found.status,
        "startDate": format_ms(found.started_ms),
        "stopDate": None if ended_ms is None else format_ms(ended_ms),
        "duration_s": None if ended_ms is None else (ended_ms - found.started_ms) / 1000,
        "input": _parse_json(found.input),
        "output": _parse_json(found.output),
        "error": found.error,
        "cause": None if found.cause is None else mask_secrets(found.cause),
    }


def explain_end(found: Execution, *, deployed: bool = True) -> list[str]:
    """Return why an execution that has ended did not succeed, and what to do about it if that is known.

    Nothing for one that did succeed. In single-machine mode, where nothing is *deployed*, remedies differ.
    """
    if found.status == SUCCEEDED:
        return []
    reasons = [text for text in (found.error, found.cause) if text]
    line = escape(": ".join([f"the execution ended as {found.status}", *reasons]))
    remedy = explain_refusal(found, deployed=deployed)
    return [mask_secrets(line), *([] if remedy is None else [remedy])]


def render_length(ms: int) -> str:
    """Return a length of time to the millisecond, and from a minute on also in words."""
    seconds = f"{ms / 1000:.3f} s"
    return seconds if ms < _MINUTE_MS else f"{seconds} ({render_span(ms)})"


def _render_text(title: str, text: str | None) -> list[str]:
    """Return *text* below *title*, indented if it is JSON; nothing for ``None``."""
    if text is None:
        return []
    try:
        lines = render_json(json.loads(text))
    # JSON nested deeper than Python's stack is shown as text.
    except (ValueError, RecursionError):
        lines = [escape(line) for line in text.split("\n")]
    return [title, *(f"  {line}" for line in lines)]


def _parse_json(text: str | None) -> Any:
    """Return the JSON in *text*; *text* itself if it is not JSON."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text

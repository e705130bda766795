"""The table of metrics, and its rendering for Prometheus."""

import re

import pytest

from bot.telemetry.metrics import METRICS, render_metrics


def test_renders_in_table_order() -> None:
    assert render_metrics({"heartbeat_age_s": 0.5, "transitions_total": 3}) == (
        "# HELP voice_relay_transitions_total Voice state transitions captured.\n"
        "# TYPE voice_relay_transitions_total counter\n"
        "voice_relay_transitions_total 3\n"
        "# HELP voice_relay_heartbeat_age_s Seconds since the last accepted heartbeat.\n"
        "# TYPE voice_relay_heartbeat_age_s gauge\n"
        "voice_relay_heartbeat_age_s 0.5\n"
    )


def test_renders_nothing_without_values() -> None:
    assert render_metrics({}) == ""


def test_refuses_unknown_metric() -> None:
    with pytest.raises(ValueError, match="not in METRICS: events_lost_total"):
        render_metrics({"events_lost_total": 1, "transitions_total": 1})


def test_names_follow_prometheus() -> None:
    """Counters alone end in ``_total``, names are unique, and help is one line of plain text."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch("[a-z][a-z_]*", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert re.fullmatch(r"[^\\\n]+\.", metric.help)

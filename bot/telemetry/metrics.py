"""Every metric of the relay, and how Prometheus reads them.

To add one, enter it in ``METRICS`` and give its value in ``Relay.metrics`` (``bot/relay.py``). A counter only
grows while the process runs, and its name ends in ``_total``; a gauge goes up and down.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

# https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
METRICS_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX: Final = "voice_relay_"


@dataclass(frozen=True, slots=True)
class Metric:
    """``name`` goes without the prefix that all share; ``help`` is what Prometheus shows beside it."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str


METRICS: Final = (
    Metric("transitions_total", "counter", "Voice state transitions captured."),
    Metric("events_delivered_total", "counter", "Events delivered: posted, if the workflow posts."),
    Metric("events_waiting", "gauge", "Events in the outbox, including those in flight."),
    Metric("events_held", "gauge", "Comings and goings held back by debounce."),
    Metric("commits_waiting", "gauge", "Writes queued for the outbox's thread."),
    Metric("batches_in_flight", "gauge", "Batches that are being sent."),
    Metric("executions_followed", "gauge", "Accepted executions whose end is awaited."),
    Metric("posts_refused_total", "counter", "Posts that Discord, or the proxy, refused."),
    Metric("actions_done_total", "counter", "Actions performed in Discord for workflows."),
    Metric("actions_refused_total", "counter", "Actions that Discord or the bot refused."),
    Metric("actions_running", "gauge", "Actions that are being performed."),
    Metric("presses_total", "counter", "Presses of workflows' buttons."),
    Metric("presses_failed_total", "counter", "Presses that had no effect, or no answer."),
    Metric("shards_connected", "gauge", "Shards connected to Discord's gateway."),
    Metric("heartbeats_total", "counter", "Heartbeats that the API accepted."),
    Metric("heartbeats_failed_total", "counter", "Heartbeats that failed."),
    Metric("heartbeat_age_s", "gauge", "Seconds since the last accepted heartbeat."),
)


def render_metrics(values: Mapping[str, float]) -> str:
    """Return *values*, by name, in Prometheus' text format; ValueError for a name not in ``METRICS``."""
    if unknown := sorted(values.keys() - {metric.name for metric in METRICS}):
        raise ValueError(f"not in METRICS: {', '.join(unknown)}")
    return "".join(_render(metric, values[metric.name]) for metric in METRICS if metric.name in values)


def _render(metric: Metric, value: float) -> str:
    name = _PREFIX + metric.name
    return f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n{name} {value}\n"

"""Checks of what AWS records: metrics of the alarms, and logs without data."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from infra.verify.check import Check, Seen, Skipped
from infra.verify.removal import BRIEF
from infra.verify.site import Site, unique

_LOGS_S: Final = 120.0
_PERIOD_S: Final = 300
# Of the filters that read the access logs.
_OWN: Final = "VoiceRelay"
METRICS: Final = (
    ("AWS/States", "ExecutionsSucceeded", "heartbeat"),
    ("AWS/States", "ExecutionsFailed", "notify"),
    ("AWS/States", "ExecutionsFailed", "signal"),
    ("AWS/States", "ExecutionsTimedOut", BRIEF),
    (_OWN, "IngressRefused", ""),
    ("AWS/ApiGateway", "Latency", "IngressApiId"),
    ("AWS/ApiGateway", "5xx", "IngressApiId"),
    ("AWS/ApiGateway", "Latency", "ProxyApiId"),
    ("AWS/ApiGateway", "5xx", "ProxyApiId"),
)
"""What the alarms of ``infra/monitoring.yaml`` watch, and the workflow or the API that has it by now."""


def _dimension(site: Site, of: str) -> dict[str, str]:
    if of in site.outputs:
        return {"Name": "ApiId", "Value": site.outputs[of]}
    notify = site.outputs["NotifyStateMachineArn"]
    return {"Name": "StateMachineArn", "Value": f"{notify.removesuffix('notify')}{of}"}


def _find_missing(site: Site, cloudwatch: Any) -> list[str]:
    now = datetime.now(UTC)
    return [
        f"{name} of {of}" if of else name
        for namespace, name, of in METRICS
        if not cloudwatch.get_metric_statistics(
            Namespace=namespace if of else f"{namespace}/{site.stack}",
            MetricName=name,
            Dimensions=[_dimension(site, of)] if of else [],
            StartTime=now - timedelta(hours=3),
            EndTime=now + timedelta(minutes=5),
            Period=_PERIOD_S,
            Statistics=["SampleCount"],
        )["Datapoints"]
    ]


def _metrics(site: Site) -> Seen:
    if site.is_embedded:
        raise Skipped("the embedded AWS records no metrics")
    if not site.wait_metrics_s:
        raise Skipped("metrics come minutes later: wait for them with --wait-metrics 900")
    cloudwatch = site.account.client("cloudwatch")
    deadline = time.monotonic() + site.wait_metrics_s
    while (missing := _find_missing(site, cloudwatch)) and time.monotonic() < deadline:
        time.sleep(site.poll_s)
    return Seen(not missing, f"missing: {', '.join(missing)}" if missing else "all of them")


def _log_without_data(site: Site) -> Seen:
    if site.is_embedded:
        raise Skipped("the embedded AWS writes no logs of executions")
    marker = unique()
    site.post("/executions/signal", {"name": marker, "signal": "go", "by": {"kind": "relay"}})
    logs, group = site.account.client("logs"), site.outputs["SignalExecutionLogName"]

    def read() -> str | None:
        events = logs.filter_log_events(logGroupName=group)["events"]
        return "\n".join(event["message"] for event in events) or None

    text = site.wait_for(read, f"a line in {group}", timeout_s=_LOGS_S)
    lines = f"{text.count(chr(10)) + 1} lines"
    return Seen(marker not in text, f"{lines}, {'with' if marker in text else 'without'} data")


CHECKS: Final = (
    Check("log of the signal workflow", "lines without data", _log_without_data),
    Check("metrics of the alarms", "all of them", _metrics),
)

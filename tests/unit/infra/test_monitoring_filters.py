"""The metric filters of the monitoring template count the right lines of the access logs."""

import re
from typing import Any

import pytest

from infra.deploy.engine import TEMPLATE as RELAY_TEMPLATE
from tests.support.filter_patterns import matches
from tooling.template_yaml import load_template

MONITORING = load_template(RELAY_TEMPLATE.with_name("monitoring.yaml").read_text())
RELAY = load_template(RELAY_TEMPLATE.read_text())
FILTERS: list[dict[str, Any]] = [
    resource["Properties"]
    for resource in MONITORING["Resources"].values()
    if resource["Type"] == "AWS::Logs::MetricFilter"
]


def _access_log_format(log: str) -> str:
    """Return the log's line format, from the stage that writes it."""
    stage = RELAY["Resources"][log.replace("AccessLog", "Stage")]["Properties"]
    settings = stage["AccessLogSettings"]
    assert f"${{{log}}}" in settings["DestinationArn"]["Fn::Sub"]
    name, key, attribute = settings["Format"]["Fn::FindInMap"]
    return str(RELAY["Mappings"][name][key][attribute])


def _line(log: str, status: str, integration_status: str) -> str:
    """Build a line as API Gateway writes it, with a dash for a missing value."""
    values = {"status": status, "integration.status": integration_status}
    return re.sub(r"\$context\.([\w.]+)", lambda match: values.get(match[1], "-"), _access_log_format(log))


INGRESS_LINES = {
    "started": ("200", "200", []),
    # Step Functions' own 400, which API Gateway passes on: https://github.com/CloudSnorkel/cdk-github-runners/issues/472
    "a repeated name": ("400", "400", []),
    "an unknown path": ("404", "-", []),
    "no permission, no signature, a wrong clock": ("403", "-", ["IngressRefused"]),
    "too large": ("413", "-", ["IngressRefused"]),
    "throttled": ("429", "-", ["IngressThrottled"]),
    "an outage": ("503", "-", []),
}
PROXY_LINES = {
    "posted": ("200", "200", []),
    "throttled by Discord": ("429", "429", []),
    "throttled by the proxy": ("429", "-", []),
    "an unknown path": ("404", "-", []),
    "a deleted webhook": ("404", "404", ["ProxyRefused"]),
    "a changed token": ("401", "401", ["ProxyRefused"]),
    "an invalid message": ("400", "400", ["ProxyRefused"]),
    "a role without permission": ("403", "-", ["ProxyRefused"]),
    "a Discord outage": ("502", "502", []),
}


@pytest.mark.parametrize(
    ("log", "status", "integration_status", "counted"),
    [
        pytest.param(log, *line, id=f"{log}: {name}")
        for log, lines in (("IngressAccessLog", INGRESS_LINES), ("ProxyAccessLog", PROXY_LINES))
        for name, line in lines.items()
    ],
)
def test_filters_count_access_log_lines(
    log: str, status: str, integration_status: str, counted: list[str]
) -> None:
    line = _line(log, status, integration_status)

    assert counted == [
        properties["MetricTransformations"][0]["MetricName"]
        for properties in FILTERS
        if properties["LogGroupName"]["Fn::ImportValue"]["Fn::Sub"] == f"${{RelayStack}}-{log}Name"
        and matches(properties["FilterPattern"], line)
    ]

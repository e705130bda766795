"""The cost model agrees with the price list, the templates and the documentation."""

import re

import pytest

from tooling.costs import (
    DIGEST,
    NOTIFY,
    PRICES_FOUND,
    event_costs,
    express_costs,
    heartbeat_month,
    monitoring_month,
    polls,
    signal_costs,
)
from tooling.locks import ROOT
from tooling.template_yaml import load_template
from workflow.registry import max_events


def test_prices_a_million_notifications() -> None:
    """A request, a start and one state, a message: 1.00 + 2 x 25.00 + 1.00; polls, and lines in the logs."""
    costs = event_costs(NOTIFY, events=1_000_000, events_per_execution=1)
    assert costs["ingress API"] == pytest.approx(1.00)
    assert costs["Step Functions"] == pytest.approx(50.00)
    assert costs["proxy API"] == pytest.approx(1.00)
    # Three polls, each a request (1.00) and an Express execution (1.10).
    assert costs["following"] == pytest.approx(3 * 2.104, rel=0.001)
    assert 0.2 < costs["access logs"] < 1


def test_digest_enters_two_states() -> None:
    costs = event_costs(DIGEST, events=1_000_000, events_per_execution=1)
    assert costs["Step Functions"] == pytest.approx(75.00)


@pytest.mark.parametrize(
    ("seconds", "asked"),
    # After 0.2 s, 0.45 s, 0.76 s; after 134.73 s every 30 s.
    [(0.1, 1), (0.2, 1), (0.3, 2), (0.6, 3), (0.8, 4), (135.0, 24), (164.0, 24), (165.0, 25), (300.0, 29)],
)
def test_polls_grow_rarer(seconds: float, asked: int) -> None:
    assert polls(seconds) == asked


def test_partial_batch_costs_a_full_one() -> None:
    full = event_costs(NOTIFY, events=50, events_per_execution=25)
    assert event_costs(NOTIFY, events=26, events_per_execution=25) == full


def test_prices_a_million_synchronous_runs() -> None:
    """A request, a message (2.00); an Express execution, 0.6 s of 64 MiB (1.00 + 0.63); two rows (1.25)."""
    costs = express_costs(NOTIFY, events=1_000_000, events_per_execution=1)
    assert sum(costs.values()) - costs["logs"] == pytest.approx(4.875, rel=0.001)
    assert 1 < costs["logs"] < 2


def test_documentation_compares_the_prices() -> None:
    """What Standard and Express cost for a million events of notify, one by one and in full batches."""
    text = (ROOT / "infra" / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith("| price of 1,000,000 events |")]
    for priced in (event_costs, express_costs):
        for size in (1, max_events("notify")):
            dollars = sum(priced(NOTIFY, events=1_000_000, events_per_execution=size).values())
            assert f"${dollars:.2f} " in row


def test_prices_a_million_signals() -> None:
    """A request (1.00); an Express execution of 0.3 s (1.00 + 0.31); two rows written, one read (1.375)."""
    assert sum(signal_costs(1_000_000).values()) == pytest.approx(3.6876, rel=0.001)


def test_prices_a_months_heartbeats() -> None:
    """43,200 a month, each a request (1.00 a million), an execution (1.00) and 0.1 s of 64 MiB (0.10)."""
    assert heartbeat_month(60) == pytest.approx(43_200 * 2.104e-6, rel=0.001)
    assert heartbeat_month(30) == pytest.approx(2 * heartbeat_month(60))


def test_documentation_dates_the_prices() -> None:
    assert f"prices found in {PRICES_FOUND}" in (ROOT / "infra" / "README.md").read_text(encoding="utf-8")


def test_log_lines_match_the_template() -> None:
    """A line with values of typical length."""
    template = load_template((ROOT / "infra" / "relay.yaml").read_text(encoding="utf-8"))
    line = template["Mappings"]["AccessLog"]["Line"]["Format"]
    values = {
        "$context.requestId": "x" * 16,
        "$context.requestTimeEpoch": "1" * 13,
        "$context.routeKey": "POST /workflows/notify",
        "$context.identity.userArn": f"arn:aws:sts::{'1' * 12}:assumed-role/{'x' * 40}/{'x' * 32}",
        "$context.identity.sourceIp": "203.0.113.7",
    }
    for name, value in sorted(values.items(), key=lambda pair: -len(pair[0])):
        line = line.replace(name, value)
    length = len(re.sub(r"\$context\.[\w.]+", "-", line))
    # CloudWatch counts 26 bytes more for each event.
    assert length + 26 == pytest.approx(NOTIFY.log_bytes, rel=0.1)


def test_counts_monitoring_in_the_template() -> None:
    kinds = ["AWS::CloudWatch::Alarm"] * 3 + ["AWS::CloudWatch::CompositeAlarm", "AWS::SNS::Topic"]
    found = monitoring_month({str(number): {"Type": kind} for number, kind in enumerate(kinds)})
    assert {name: count for name, (count, _) in found.items() if count} == {
        "alarms": 3,
        "composite alarms": 1,
    }
    assert sum(cost for _, cost in found.values()) == pytest.approx(3 * 0.10 + 0.50)

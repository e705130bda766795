"""The monitoring template beside a relay: each fault pages once, and nothing else pages."""

import json
from collections.abc import Iterator

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.monitoring import Monitoring, apply_stack, delete_stack, monitored
from tests.integration.infra.relay import Relay, Webhook, batch, new_relay, unique


@pytest.fixture
def monitoring(relay: Relay) -> Iterator[Monitoring]:
    with monitored(relay) as monitoring:
        yield monitoring


@pytest.fixture
def measured(aws: EmbeddedAws, webhook: Webhook) -> Iterator[Monitoring]:
    """Monitoring of a separate relay, because metrics persist under the relay's name."""
    with monitored(new_relay(aws, webhook)) as monitoring:
        yield monitoring


def test_silent_bot_pages_once(monitoring: Monitoring) -> None:
    """Once when it goes silent, and once when it recovers."""
    monitoring.set("ALARM", "bot-silent")

    assert monitoring.pages() == [("way-in", "ALARM")]

    monitoring.set("OK", "bot-silent")

    assert monitoring.pages() == [("way-in", "OK")]


def test_revoked_key_pages_once(monitoring: Monitoring) -> None:
    """The ingress refuses, and the bot, which is not ready, sends no heartbeats."""
    monitoring.set("ALARM", "ingress-refused", "bot-silent")

    assert monitoring.pages() == [("way-in", "ALARM")]

    monitoring.set("OK", "ingress-refused", "bot-silent")

    assert monitoring.pages() == [("way-in", "OK")]


def test_failing_proxy_pages_once(monitoring: Monitoring) -> None:
    """With all the alarms that follow from it."""
    monitoring.set("ALARM", "proxy-faults", "proxy-slow", "notify-failed", "digest-timed-out")

    assert monitoring.pages() == [("way-out", "ALARM")]
    assert monitoring.alarm("late")["ActionsSuppressedBy"] == "Alarm"

    monitoring.set("OK", "proxy-slow", "proxy-faults", "digest-timed-out", "notify-failed")

    assert monitoring.pages() == [("way-out", "OK")]


def test_deleted_webhook_pages_once(monitoring: Monitoring) -> None:
    monitoring.set("ALARM", "proxy-refused", "notify-failed", "digest-failed")

    assert monitoring.pages() == [("way-out", "ALARM")]


def test_latency_alone_pages_late(monitoring: Monitoring) -> None:
    monitoring.set("ALARM", "proxy-slow", "notify-throttled")

    assert monitoring.pages() == [("late", "ALARM")]

    monitoring.set("OK", "notify-throttled", "proxy-slow")

    assert monitoring.pages() == [("late", "OK")]


def test_latency_after_failure_pages_late(monitoring: Monitoring) -> None:
    monitoring.set("ALARM", "proxy-faults", "proxy-slow")
    monitoring.pages()

    monitoring.set("OK", "proxy-faults")

    assert monitoring.pages() == [("way-out", "OK"), ("late", "ALARM")]


def test_unrelated_causes_page_separately(monitoring: Monitoring) -> None:
    monitoring.set("ALARM", "notify-failed", "bot-silent")

    assert sorted(monitoring.pages()) == [("way-in", "ALARM"), ("way-out", "ALARM")]


def test_repeated_names_do_not_page(measured: Monitoring) -> None:
    """However many they are; a refusal among them does page."""
    name = unique("again")
    assert measured.relay.start(name).status == 200
    measured.relay.finished(name)
    answer = measured.relay.start(name, batch(name))
    assert answer.json()["__type"].endswith("#ExecutionAlreadyExists")

    for _ in range(20):
        measured.count("IngressAccessLogName", status=str(answer.status), integrationStatus="400")
    for name in ("ingress-refused", "ingress-throttled"):
        assert measured.alarm(name)["StateValue"] != "ALARM"
    assert measured.pages() == []

    measured.count("IngressAccessLogName", status="403")

    assert measured.alarm("ingress-refused")["StateValue"] == "ALARM"
    assert measured.pages() == [("way-in", "ALARM")]


def test_discord_404_pages_429_does_not(measured: Monitoring) -> None:
    for _ in range(20):
        measured.count("ProxyAccessLogName", status="429", integrationStatus="429")
    assert measured.alarm("proxy-refused")["StateValue"] != "ALARM"
    assert measured.pages() == []

    measured.count("ProxyAccessLogName", status="404", integrationStatus="404")

    assert measured.alarm("proxy-refused")["StateValue"] == "ALARM"
    assert measured.pages() == [("way-out", "ALARM")]


def test_alarms_watch_named_relay(monitoring: Monitoring) -> None:
    outputs = monitoring.relay.outputs
    watched = {
        name: {dimension["Value"] for dimension in monitoring.alarm(name)["Dimensions"]}
        for name in (
            *("bot-silent", "notify-failed", "digest-failed", "signals-failed"),
            *("ingress-faults", "proxy-faults"),
        )
    }

    assert watched == {
        "bot-silent": {outputs["HeartbeatStateMachineArn"]},
        "notify-failed": {outputs["NotifyStateMachineArn"]},
        "digest-failed": {outputs["DigestStateMachineArn"]},
        "signals-failed": {outputs["SignalStateMachineArn"]},
        "ingress-faults": {outputs["IngressApiId"]},
        "proxy-faults": {outputs["ProxyApiId"]},
    }


def test_dashboard_names_existing_resources(monitoring: Monitoring) -> None:
    found = monitoring.aws.client("cloudwatch").get_dashboard(DashboardName=monitoring.relay.stack_name)
    shown = json.dumps(json.loads(found["DashboardBody"]))

    assert "${" not in shown
    for output in ("NotifyStateMachineArn", "DigestStateMachineArn", "HeartbeatStateMachineArn"):
        assert monitoring.relay.outputs[output] in shown
    (widget,) = (w for w in json.loads(shown)["widgets"] if w["type"] == "alarm")
    described = monitoring.aws.client("cloudwatch").describe_alarms(
        AlarmNamePrefix=monitoring.relay.stack_name, AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    alarms = described["MetricAlarms"] + described["CompositeAlarms"]
    assert sorted(widget["properties"]["alarms"]) == sorted(alarm["AlarmArn"] for alarm in alarms)


def test_update_keeps_alarm_state(monitoring: Monitoring) -> None:
    """An update during an alarm does not page again."""
    monitoring.set("ALARM", "bot-silent")
    monitoring.pages()

    apply_stack(
        monitoring.aws,
        "update_stack",
        monitoring.stack_name,
        {
            "RelayStack": monitoring.relay.stack_name,
            "SilenceMinutes": "5",
            "BotProcesses": "2",
            "AlertEmail": "operator@example.org",
            "MonthlyBudget": "25",
            "BudgetTag": "project$voice-relay",
            "EncryptTopic": "false",
        },
        "UPDATE_COMPLETE",
    )

    alarm = monitoring.alarm("bot-silent")
    assert (alarm["EvaluationPeriods"], alarm["Threshold"], alarm["StateValue"]) == (5, 2.0, "ALARM")
    assert monitoring.alarm("way-in")["StateValue"] == "ALARM"
    assert monitoring.pages() == []
    (budget,) = monitoring.budgets()
    assert budget["BudgetLimit"] == {"Amount": "25", "Unit": "USD"}
    assert budget["CostFilters"] == {"TagKeyValue": ["user:project$voice-relay"]}


def test_zero_budget_is_removed(monitoring: Monitoring) -> None:
    assert len(monitoring.budgets()) == 1
    parameters = {"RelayStack": monitoring.relay.stack_name, "MonthlyBudget": "0"}

    apply_stack(monitoring.aws, "update_stack", monitoring.stack_name, parameters, "UPDATE_COMPLETE")

    assert monitoring.budgets() == []


def test_deletion_leaves_nothing(relay: Relay) -> None:
    """Except the key, which KMS keeps for a week."""
    aws, stack_name = relay.aws, unique("monitoring")
    before = _inventory(aws)
    parameters = {"RelayStack": relay.stack_name, "AlertEmail": "operator@example.org"}
    apply_stack(aws, "create_stack", stack_name, parameters, "CREATE_COMPLETE")
    created = _inventory(aws)
    assert all(created[kind] > before[kind] for kind in created)

    delete_stack(aws, stack_name)

    assert _inventory(aws) == before


def _inventory(aws: EmbeddedAws) -> dict[str, set[str]]:
    """List all resources of the kinds that the template creates."""
    cloudwatch, kms, sns = aws.client("cloudwatch"), aws.client("kms"), aws.client("sns")
    alarms = cloudwatch.describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    keys = (kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"])
    return {
        "alarms": {alarm["AlarmArn"] for alarm in alarms["MetricAlarms"] + alarms["CompositeAlarms"]},
        "dashboards": {found["DashboardName"] for found in cloudwatch.list_dashboards()["DashboardEntries"]},
        "topics": {topic["TopicArn"] for topic in sns.list_topics()["Topics"]},
        "subscriptions": {found["Endpoint"] for found in sns.list_subscriptions()["Subscriptions"]},
        "filters": {
            found["filterName"] for found in aws.client("logs").describe_metric_filters()["metricFilters"]
        },
        "keys": {key["KeyId"] for key in keys if key["KeyState"] != "PendingDeletion"},
        "budgets": {
            budget["BudgetName"]
            for budget in aws.client("budgets").describe_budgets(AccountId=aws.account_id)["Budgets"]
        },
    }

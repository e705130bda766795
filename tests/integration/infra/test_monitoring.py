"""The monitoring template beside a relay: what breaks pages once, what does not break does not page.

The embedded AWS measures nothing by itself, so alarms are set to the state that CloudWatch would find, and
the lines of the access logs are counted here as its metric filters say. Rules, suppression and what is sent
to whom are the embedded AWS's own doing.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from infra.deploy.engine import TEMPLATE as RELAY_TEMPLATE
from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import POLL_S, TIMEOUT_S, Relay, Webhook, batch, new_relay, unique
from tests.support.filter_patterns import matches

TEMPLATE = RELAY_TEMPLATE.with_name("monitoring.yaml")


@dataclass(frozen=True)
class Monitoring:
    """One monitoring stack beside *relay*, and a queue that is subscribed to its topic."""

    relay: Relay
    stack_name: str
    queue_url: str

    @property
    def aws(self) -> EmbeddedAws:
        return self.relay.aws

    def alarm(self, name: str) -> Any:
        """The alarm of that name, as CloudWatch describes it."""
        found = self.aws.client("cloudwatch").describe_alarms(
            AlarmNames=[self.full_name(name)], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        (alarm,) = found["MetricAlarms"] + found["CompositeAlarms"]
        return alarm

    def full_name(self, name: str) -> str:
        return f"{self.relay.stack_name}-{name}"

    def budgets(self) -> list[Any]:
        """This stack's budgets."""
        found = self.aws.client("budgets").describe_budgets(AccountId=self.aws.account_id)["Budgets"]
        return [budget for budget in found if budget["BudgetName"].startswith(self.relay.stack_name)]

    def set(self, state: str, *names: str) -> None:
        """Put these alarms into *state*, one after the other."""
        cloudwatch = self.aws.client("cloudwatch")
        for name in names:
            cloudwatch.set_alarm_state(
                AlarmName=self.full_name(name), StateValue=state, StateReason="as measured"
            )

    def heard(self) -> list[tuple[str, str]]:
        """The alarms that the topic told of since the last look, each with its new state.

        The embedded AWS delivers before it answers, so what is not there now does not come.
        """
        sqs = self.aws.client("sqs")
        heard = []
        while got := sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages"):
            for message in got:
                sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
                told = json.loads(json.loads(message["Body"])["Message"])
                heard.append(
                    (told["AlarmName"].removeprefix(f"{self.relay.stack_name}-"), told["NewStateValue"])
                )
        return heard

    def count(self, log: str, **fields: str) -> None:
        """Count a line of the access log that the relay's output *log* names as its filters say."""
        line = json.dumps({"integrationStatus": "-", **fields})
        filters = self.aws.client("logs").describe_metric_filters(logGroupName=self.relay.outputs[log])
        for found in filters["metricFilters"]:
            if matches(found["filterPattern"], line):
                (metric,) = found["metricTransformations"]
                self.aws.client("cloudwatch").put_metric_data(
                    Namespace=metric["metricNamespace"],
                    MetricData=[{"MetricName": metric["metricName"], "Value": float(metric["metricValue"])}],
                )


def _bring_about(
    aws: EmbeddedAws, action: str, stack_name: str, parameters: Mapping[str, str], wanted: str
) -> None:
    cloudformation = aws.client("cloudformation")
    stack_id = getattr(cloudformation, action)(
        StackName=stack_name,
        TemplateBody=TEMPLATE.read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )["StackId"]
    _wait_for(aws, stack_id, wanted)


def _delete(aws: EmbeddedAws, stack_name: str) -> None:
    cloudformation = aws.client("cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    cloudformation.delete_stack(StackName=stack_name)
    _wait_for(aws, stack["StackId"], "DELETE_COMPLETE")


def _wait_for(aws: EmbeddedAws, stack_id: str, wanted: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        (stack,) = aws.client("cloudformation").describe_stacks(StackName=stack_id)["Stacks"]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            assert stack["StackStatus"] == wanted, stack.get("StackStatusReason")
            return
        time.sleep(POLL_S)
    raise TimeoutError(stack_id)


@contextmanager
def _monitored(relay: Relay) -> Iterator[Monitoring]:
    """A monitoring stack for one test, of which nothing has been heard yet."""
    aws, stack_name = relay.aws, f"{relay.stack_name}-monitoring"
    _bring_about(aws, "create_stack", stack_name, {"RelayStack": relay.stack_name}, "CREATE_COMPLETE")
    (stack,) = aws.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    sqs = aws.client("sqs")
    queue_url = sqs.create_queue(QueueName=unique("pages"))["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]
    sqs.set_queue_attributes(
        QueueUrl=queue_url, Attributes={"Policy": _open_to(outputs["TopicArn"], queue["QueueArn"])}
    )
    aws.client("sns").subscribe(
        TopicArn=outputs["TopicArn"], Protocol="sqs", Endpoint=queue["QueueArn"], ReturnSubscriptionArn=True
    )
    monitoring = Monitoring(relay, stack_name, queue_url)
    yield monitoring
    _delete(aws, stack_name)
    sqs.delete_queue(QueueUrl=queue_url)


@pytest.fixture
def monitoring(relay: Relay) -> Iterator[Monitoring]:
    with _monitored(relay) as monitoring:
        yield monitoring


@pytest.fixture
def measured(aws: EmbeddedAws, webhook: Webhook) -> Iterator[Monitoring]:
    """Beside a relay of its own, because what has been measured stays and is named after the relay."""
    with _monitored(new_relay(aws, webhook)) as monitoring:
        yield monitoring


def _open_to(topic_arn: str, queue_arn: str) -> str:
    """The policy of a queue that takes what the topic sends."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_a_silent_bot_pages_once_and_its_return_is_told_once(monitoring: Monitoring) -> None:
    monitoring.set("ALARM", "bot-silent")

    assert monitoring.heard() == [("way-in", "ALARM")]

    monitoring.set("OK", "bot-silent")

    assert monitoring.heard() == [("way-in", "OK")]


def test_a_key_that_was_revoked_pages_once(monitoring: Monitoring) -> None:
    """The ingress refuses, and because the bot is not ready its heartbeat stays away."""
    monitoring.set("ALARM", "ingress-refused", "bot-silent")

    assert monitoring.heard() == [("way-in", "ALARM")]

    monitoring.set("OK", "ingress-refused", "bot-silent")

    assert monitoring.heard() == [("way-in", "OK")]


def test_a_proxy_that_fails_with_all_that_follows_from_it_pages_once(monitoring: Monitoring) -> None:
    monitoring.set("ALARM", "proxy-faults", "proxy-slow", "notify-failed", "digest-timed-out")

    assert monitoring.heard() == [("way-out", "ALARM")]
    assert monitoring.alarm("late")["ActionsSuppressedBy"] == "Alarm"

    monitoring.set("OK", "proxy-slow", "proxy-faults", "digest-timed-out", "notify-failed")

    assert monitoring.heard() == [("way-out", "OK")]


def test_a_webhook_that_is_gone_pages_once(monitoring: Monitoring) -> None:
    monitoring.set("ALARM", "proxy-refused", "notify-failed", "digest-failed")

    assert monitoring.heard() == [("way-out", "ALARM")]


def test_slowness_alone_is_told_as_slowness(monitoring: Monitoring) -> None:
    monitoring.set("ALARM", "proxy-slow", "notify-throttled")

    assert monitoring.heard() == [("late", "ALARM")]

    monitoring.set("OK", "notify-throttled", "proxy-slow")

    assert monitoring.heard() == [("late", "OK")]


def test_slowness_that_outlives_the_failure_is_told_then(monitoring: Monitoring) -> None:
    monitoring.set("ALARM", "proxy-faults", "proxy-slow")
    monitoring.heard()

    monitoring.set("OK", "proxy-faults")

    assert monitoring.heard() == [("way-out", "OK"), ("late", "ALARM")]


def test_two_causes_on_different_ways_page_each_for_itself(monitoring: Monitoring) -> None:
    monitoring.set("ALARM", "notify-failed", "bot-silent")

    assert sorted(monitoring.heard()) == [("way-in", "ALARM"), ("way-out", "ALARM")]


def test_names_that_are_used_again_page_nobody(measured: Monitoring) -> None:
    """Whatever their number; a refusal in their midst does."""
    name = unique("again")
    assert measured.relay.start(name).status == 200
    measured.relay.finished(name)
    answer = measured.relay.start(name, batch(name))
    assert answer.json()["__type"].endswith("#ExecutionAlreadyExists")

    for _ in range(20):
        measured.count("IngressAccessLogName", status=str(answer.status), integrationStatus="400")
    for name in ("ingress-refused", "ingress-throttled"):
        assert measured.alarm(name)["StateValue"] != "ALARM"
    assert measured.heard() == []

    measured.count("IngressAccessLogName", status="403")

    assert measured.alarm("ingress-refused")["StateValue"] == "ALARM"
    assert measured.heard() == [("way-in", "ALARM")]


def test_discords_429_pages_nobody_and_its_404_does(measured: Monitoring) -> None:
    for _ in range(20):
        measured.count("ProxyAccessLogName", status="429", integrationStatus="429")
    assert measured.alarm("proxy-refused")["StateValue"] != "ALARM"
    assert measured.heard() == []

    measured.count("ProxyAccessLogName", status="404", integrationStatus="404")

    assert measured.alarm("proxy-refused")["StateValue"] == "ALARM"
    assert measured.heard() == [("way-out", "ALARM")]


def test_alarms_watch_the_relay_that_they_are_told_of(monitoring: Monitoring) -> None:
    outputs = monitoring.relay.outputs
    watched = {
        name: {dimension["Value"] for dimension in monitoring.alarm(name)["Dimensions"]}
        for name in ("bot-silent", "notify-failed", "digest-failed", "ingress-faults", "proxy-faults")
    }

    assert watched == {
        "bot-silent": {outputs["HeartbeatStateMachineArn"]},
        "notify-failed": {outputs["NotifyStateMachineArn"]},
        "digest-failed": {outputs["DigestStateMachineArn"]},
        "ingress-faults": {outputs["IngressApiId"]},
        "proxy-faults": {outputs["ProxyApiId"]},
    }


def test_the_dashboard_names_what_is_there(monitoring: Monitoring) -> None:
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


def test_an_update_changes_alarms_and_keeps_their_state(monitoring: Monitoring) -> None:
    """In the middle of an alarm, of all times; nobody is paged again for it."""
    monitoring.set("ALARM", "bot-silent")
    monitoring.heard()

    _bring_about(
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
    assert monitoring.heard() == []
    (budget,) = monitoring.budgets()
    assert budget["BudgetLimit"] == {"Amount": "25", "Unit": "USD"}
    assert budget["CostFilters"] == {"TagKeyValue": ["user:project$voice-relay"]}


def test_a_budget_of_nothing_is_none(monitoring: Monitoring) -> None:
    assert len(monitoring.budgets()) == 1
    parameters = {"RelayStack": monitoring.relay.stack_name, "MonthlyBudget": "0"}

    _bring_about(monitoring.aws, "update_stack", monitoring.stack_name, parameters, "UPDATE_COMPLETE")

    assert monitoring.budgets() == []


def test_leaves_nothing_behind(relay: Relay) -> None:
    """Except the key, which KMS keeps for a week so that a deletion can be taken back."""
    aws, stack_name = relay.aws, unique("monitoring")
    before = _belongings(aws)
    parameters = {"RelayStack": relay.stack_name, "AlertEmail": "operator@example.org"}
    _bring_about(aws, "create_stack", stack_name, parameters, "CREATE_COMPLETE")
    there = _belongings(aws)
    assert all(there[kind] > before[kind] for kind in there)

    _delete(aws, stack_name)

    assert _belongings(aws) == before


def _belongings(aws: EmbeddedAws) -> dict[str, set[str]]:
    """Everything of the kinds that the template makes."""
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

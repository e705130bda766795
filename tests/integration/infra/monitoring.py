"""A monitoring stack beside a relay, with a queue that receives its pages.

The embedded AWS measures nothing itself, so the tests set alarms to the state that CloudWatch would find, and
count access log lines as the metric filters say. It does evaluate rules, suppression and notifications.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from infra.deploy.engine import TEMPLATE as RELAY_TEMPLATE
from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import POLL_S, TIMEOUT_S, Relay, unique
from tests.support.filter_patterns import matches

TEMPLATE = RELAY_TEMPLATE.with_name("monitoring.yaml")


@dataclass(frozen=True)
class Monitoring:
    """A monitoring stack beside *relay*, and a queue subscribed to its topic."""

    relay: Relay
    stack_name: str
    queue_url: str

    @property
    def aws(self) -> EmbeddedAws:
        return self.relay.aws

    def alarm(self, name: str) -> Any:
        """Return CloudWatch's description of the alarm."""
        found = self.aws.client("cloudwatch").describe_alarms(
            AlarmNames=[self.full_name(name)], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        (alarm,) = found["MetricAlarms"] + found["CompositeAlarms"]
        return alarm

    def full_name(self, name: str) -> str:
        return f"{self.relay.stack_name}-{name}"

    def budgets(self) -> list[Any]:
        """Return this stack's budgets."""
        found = self.aws.client("budgets").describe_budgets(AccountId=self.aws.account_id)["Budgets"]
        return [budget for budget in found if budget["BudgetName"].startswith(self.relay.stack_name)]

    def set(self, state: str, *names: str) -> None:
        """Set these alarms to *state*, one after the other."""
        cloudwatch = self.aws.client("cloudwatch")
        for name in names:
            cloudwatch.set_alarm_state(
                AlarmName=self.full_name(name), StateValue=state, StateReason="as measured"
            )

    def pages(self) -> list[tuple[str, str]]:
        """Return the alarms published to the topic since the last call, each with its new state.

        The embedded AWS delivers before it answers, so no later messages can come.
        """
        sqs = self.aws.client("sqs")
        pages = []
        while got := sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages"):
            for message in got:
                sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
                page = json.loads(json.loads(message["Body"])["Message"])
                name = page["AlarmName"].removeprefix(f"{self.relay.stack_name}-")
                pages.append((name, page["NewStateValue"]))
        return pages

    def count(self, log: str, **fields: str) -> None:
        """Apply the filters of the access log in the relay's output *log* to a line."""
        line = json.dumps({"integrationStatus": "-", **fields})
        filters = self.aws.client("logs").describe_metric_filters(logGroupName=self.relay.outputs[log])
        for found in filters["metricFilters"]:
            if matches(found["filterPattern"], line):
                (metric,) = found["metricTransformations"]
                self.aws.client("cloudwatch").put_metric_data(
                    Namespace=metric["metricNamespace"],
                    MetricData=[{"MetricName": metric["metricName"], "Value": float(metric["metricValue"])}],
                )


def apply_stack(
    aws: EmbeddedAws, action: str, stack_name: str, parameters: Mapping[str, str], wanted: str
) -> None:
    cloudformation = aws.client("cloudformation")
    stack_id = getattr(cloudformation, action)(
        StackName=stack_name,
        TemplateBody=TEMPLATE.read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )["StackId"]
    _wait_for(aws, stack_id, wanted)


def delete_stack(aws: EmbeddedAws, stack_name: str) -> None:
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
def monitored(relay: Relay) -> Iterator[Monitoring]:
    """Create a monitoring stack for one test."""
    aws, stack_name = relay.aws, f"{relay.stack_name}-monitoring"
    apply_stack(aws, "create_stack", stack_name, {"RelayStack": relay.stack_name}, "CREATE_COMPLETE")
    (stack,) = aws.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    sqs = aws.client("sqs")
    queue_url = sqs.create_queue(QueueName=unique("pages"))["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]
    sqs.set_queue_attributes(
        QueueUrl=queue_url, Attributes={"Policy": _queue_policy(outputs["TopicArn"], queue["QueueArn"])}
    )
    aws.client("sns").subscribe(
        TopicArn=outputs["TopicArn"], Protocol="sqs", Endpoint=queue["QueueArn"], ReturnSubscriptionArn=True
    )
    monitoring = Monitoring(relay, stack_name, queue_url)
    yield monitoring
    delete_stack(aws, stack_name)
    sqs.delete_queue(QueueUrl=queue_url)


def _queue_policy(topic_arn: str, queue_arn: str) -> str:
    """Return a queue policy that lets the topic send to it."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

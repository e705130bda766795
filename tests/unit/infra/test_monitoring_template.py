"""What pages and what does not: every alarm has an effect and a first step, and the filters know a line."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bot.cli.main import main
from infra.deploy.engine import TEMPLATE as RELAY_TEMPLATE
from tests.support.filter_patterns import matches
from tooling.template_yaml import load_template

TEMPLATE = RELAY_TEMPLATE.with_name("monitoring.yaml")
MONITORING = load_template(TEMPLATE.read_text())
RELAY = load_template(RELAY_TEMPLATE.read_text())

PARAMETERS: dict[str, Any] = MONITORING["Parameters"]
PAGES = {"WayIn", "WayOut", "Late"}

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
LONGEST_EVALUATION_S = 86_400
LONGEST_DESCRIPTION = 1024


def _resources(kind: str) -> dict[str, Any]:
    return {
        name: value["Properties"] for name, value in MONITORING["Resources"].items() if value["Type"] == kind
    }


ALARMS = _resources("AWS::CloudWatch::Alarm")
COMPOSITES = _resources("AWS::CloudWatch::CompositeAlarm")
FILTERS = _resources("AWS::Logs::MetricFilter")


def _nodes(document: Any) -> list[dict[str, Any]]:
    """Every mapping in *document*."""
    if isinstance(document, dict):
        return [document, *(node for value in document.values() for node in _nodes(value))]
    if isinstance(document, list):
        return [node for value in document for node in _nodes(value)]
    return []


def _text(value: Any) -> str:
    return str(value["Fn::Sub"]) if isinstance(value, dict) else str(value)


def _imported(value: Any) -> str:
    """The output of the relay's that *value* imports."""
    name = value["Fn::ImportValue"]["Fn::Sub"]
    assert name.startswith("${RelayStack}-")
    return str(name.removeprefix("${RelayStack}-"))


def test_has_no_finding_of_cfn_lint() -> None:
    lint = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), TEMPLATE], capture_output=True, text=True, check=False
    )

    assert (lint.stdout, lint.stderr, lint.returncode) == ("", "", 0)


@pytest.mark.parametrize("section", ["Parameters", "Outputs"])
def test_describes_each(section: str) -> None:
    for name, declared in MONITORING[section].items():
        assert declared["Description"].endswith((".", ")")), name
        assert len(declared["Description"]) > 15, name


def test_every_parameter_has_a_default_and_a_group() -> None:
    groups = MONITORING["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]

    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(PARAMETERS)
    assert all("Default" in declared for declared in PARAMETERS.values())


def test_imports_what_the_relay_exports() -> None:
    imports = {_imported(node) for node in _nodes(MONITORING["Resources"]) if "Fn::ImportValue" in node}

    assert imports <= RELAY["Outputs"].keys()
    assert len(imports) == 9


def test_every_alarm_pages_through_one_composite() -> None:
    """One that is in none has no effect; one that is in two pages twice."""
    referred = [
        name
        for composite in COMPOSITES.values()
        for name in re.findall(r'ALARM\("\$\{(\w+)\.Arn\}"\)', _text(composite["AlarmRule"]))
    ]

    assert sorted(referred) == sorted(ALARMS)
    assert COMPOSITES.keys() == PAGES


def test_only_composites_notify_and_they_tell_of_the_end_as_well() -> None:
    for alarm in ALARMS.values():
        assert not [name for name in alarm if name.endswith("Actions")]
    for composite in COMPOSITES.values():
        assert composite["AlarmActions"] == composite["OKActions"] == [{"Ref": "Topic"}]
        assert "ActionsEnabled" not in composite


def test_slowness_is_kept_quiet_by_what_fails() -> None:
    """For as long as the failure may show after the slowness, and the slowness stay after the failure."""
    late = COMPOSITES["Late"]
    slowest_s = max(
        ALARMS[name]["Period"] * ALARMS[name].get("DatapointsToAlarm", ALARMS[name]["EvaluationPeriods"])
        for name in ("NotifyFailed", "DigestFailed", "ProxyRefused", "ProxyFaults")
    )

    assert late["ActionsSuppressor"] == {"Fn::GetAtt": ["WayOut", "Arn"]}
    assert late["ActionsSuppressorWaitPeriod"] >= slowest_s
    assert late["ActionsSuppressorExtensionPeriod"] >= slowest_s


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_what_to_do_first(name: str) -> None:
    description = _text(ALARMS[name]["AlarmDescription"])

    assert re.search(r"\. First: \w", description)
    assert description.endswith(".")
    assert len(description) < LONGEST_DESCRIPTION / 2


COMMANDS = sorted(
    {
        found[1]
        for alarm in (*ALARMS.values(), *COMPOSITES.values())
        for found in re.finditer(r'"voice-relay ([a-z -]*[a-z])', _text(alarm["AlarmDescription"]))
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_named_is_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """At three in the morning is no time to find out."""
    with pytest.raises(SystemExit) as exited:
        main([*command.split(), "--help"])

    assert exited.value.code == 0
    assert f"voice-relay {command}" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMPOSITES)
def test_a_composite_says_what_to_do_for_each_cause(name: str) -> None:
    """Its description is what stands in the mail, and its children's are not."""
    description = _text(COMPOSITES[name]["AlarmDescription"])
    causes = re.findall(r"\$\{(\w+)\.Arn\}", _text(COMPOSITES[name]["AlarmRule"]))

    # Names that are put in are longer than their places: 64 bytes for each is more than they come to.
    assert len(description) + 40 * len(causes) < LONGEST_DESCRIPTION
    for cause in causes:
        assert re.search(rf"^.*\$\{{{cause}\}}[^:]*: \w", description, re.MULTILINE), cause


def test_only_silence_is_told_by_what_is_missing() -> None:
    treatments = {name: alarm["TreatMissingData"] for name, alarm in ALARMS.items()}

    assert {name for name, treatment in treatments.items() if treatment == "breaching"} == {"BotSilent"}
    assert set(treatments.values()) == {"breaching", "notBreaching"}


def test_silence_is_every_minute_and_every_process() -> None:
    """A sum over all the minutes would let one process that lives speak for one that is dead."""
    alarm = ALARMS["BotSilent"]

    assert (alarm["Period"], alarm["Statistic"]) == (60, "Sum")
    assert alarm["Threshold"] == {"Ref": "BotProcesses"}
    assert alarm["EvaluationPeriods"] == alarm["DatapointsToAlarm"] == {"Ref": "SilenceMinutes"}
    assert PARAMETERS["SilenceMinutes"]["MaxValue"] * 60 <= LONGEST_EVALUATION_S


def test_looks_back_no_further_than_cloudwatch_does() -> None:
    for name, alarm in ALARMS.items():
        if name != "BotSilent":
            assert alarm["Period"] * alarm["EvaluationPeriods"] <= LONGEST_EVALUATION_S
            assert alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"]


def test_watches_both_workflows_for_every_bad_end_and_no_other_machine() -> None:
    watched = {
        (_imported(alarm["Dimensions"][0]["Value"]), alarm["MetricName"])
        for alarm in ALARMS.values()
        if alarm["Namespace"] == "AWS/States"
    }

    ends = ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionThrottled")
    machines = ("NotifyStateMachineArn", "DigestStateMachineArn")
    assert watched == {
        *itertools.product(machines, ends),
        ("HeartbeatStateMachineArn", "ExecutionsSucceeded"),
    }


def test_watches_both_apis_for_faults_and_the_slowest_hundredth() -> None:
    watched = {
        (
            _imported(alarm["Dimensions"][0]["Value"]),
            alarm["MetricName"],
            alarm.get("Statistic") or alarm["ExtendedStatistic"],
        )
        for alarm in ALARMS.values()
        if alarm["Namespace"] == "AWS/ApiGateway"
    }

    assert watched == {
        *((api, "5xx", "Sum") for api in ("IngressApiId", "ProxyApiId")),
        *((api, "Latency", "p99") for api in ("IngressApiId", "ProxyApiId")),
    }


def test_every_metric_of_the_logs_is_watched_and_costs_only_when_it_is_written() -> None:
    written = {
        (_text(entry["MetricNamespace"]), entry["MetricName"])
        for properties in FILTERS.values()
        for entry in properties["MetricTransformations"]
    }
    watched = {
        (_text(alarm["Namespace"]), alarm["MetricName"])
        for alarm in ALARMS.values()
        if not _text(alarm["Namespace"]).startswith("AWS/")
    }

    assert written == watched
    assert not [node for node in _nodes(FILTERS) if "DefaultValue" in node]


def _access_log_format(log: str) -> str:
    """What a line of that log looks like, from the stage that writes it."""
    stage = RELAY["Resources"][log.replace("AccessLog", "Stage")]["Properties"]
    settings = stage["AccessLogSettings"]
    assert f"${{{log}}}" in _text(settings["DestinationArn"])
    name, key, attribute = settings["Format"]["Fn::FindInMap"]
    return str(RELAY["Mappings"][name][key][attribute])


def _line(log: str, status: str, integration_status: str) -> str:
    """A line as API Gateway writes it; what has no value is a dash."""
    values = {"status": status, "integration.status": integration_status}
    return re.sub(r"\$context\.([\w.]+)", lambda match: values.get(match[1], "-"), _access_log_format(log))


INGRESS_LINES = {
    "started": ("200", "200", []),
    # Step Functions' own 400, which API Gateway hands on: https://github.com/CloudSnorkel/cdk-github-runners/issues/472
    "a name used again": ("400", "400", []),
    "a stranger's path": ("404", "-", []),
    "no permission, no signature, a wrong clock": ("403", "-", ["IngressRefused"]),
    "too large": ("413", "-", ["IngressRefused"]),
    "too many": ("429", "-", ["IngressThrottled"]),
    "out of order": ("503", "-", []),
}
PROXY_LINES = {
    "posted": ("200", "200", []),
    "throttled by Discord": ("429", "429", []),
    "throttled by the proxy": ("429", "-", []),
    "a stranger's path": ("404", "-", []),
    "a webhook that is gone": ("404", "404", ["ProxyRefused"]),
    "a token that was changed": ("401", "401", ["ProxyRefused"]),
    "a message that Discord does not take": ("400", "400", ["ProxyRefused"]),
    "a role without permission": ("403", "-", ["ProxyRefused"]),
    "Discord out of order": ("502", "502", []),
}


@pytest.mark.parametrize(
    ("log", "status", "integration_status", "counted"),
    [
        pytest.param(log, *line, id=f"{log}: {name}")
        for log, lines in (("IngressAccessLog", INGRESS_LINES), ("ProxyAccessLog", PROXY_LINES))
        for name, line in lines.items()
    ],
)
def test_a_line_of_the_access_log_is_counted_as_what_it_is(
    log: str, status: str, integration_status: str, counted: list[str]
) -> None:
    line = _line(log, status, integration_status)

    assert counted == [
        properties["MetricTransformations"][0]["MetricName"]
        for properties in FILTERS.values()
        if _imported(properties["LogGroupName"]) == f"{log}Name"
        and matches(properties["FilterPattern"], line)
    ]


def _rendered_dashboard() -> Any:
    text, values = MONITORING["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    values = dict(values)
    separator, arns = values.pop("AlarmArns")["Fn::Join"]
    given: dict[str, str] = {name: f"the-{name}" for name in values} | {
        "AlarmArns": separator.join(_text(arn) for arn in arns),
        "BotProcesses": "1",
    }
    return json.loads(re.sub(r"\$\{([\w:]+)\}", lambda match: given.get(match[1]) or match[1], text))


def test_the_dashboard_shows_every_alarm() -> None:
    (widget,) = (w for w in _rendered_dashboard()["widgets"] if w["type"] == "alarm")
    shown = "\n".join(widget["properties"]["alarms"])

    assert len(widget["properties"]["alarms"]) == len(ALARMS) + len(COMPOSITES)
    for name in ALARMS:
        assert f"{name}.Arn" in shown
    for composite in COMPOSITES.values():
        assert _text(composite["AlarmName"]).removeprefix("${RelayStack}") in shown


def test_the_dashboard_draws_every_metric_that_is_watched() -> None:
    drawn = json.dumps(_rendered_dashboard())

    for name, alarm in ALARMS.items():
        assert f'"{alarm["MetricName"]}"' in drawn, name


def test_the_dashboards_widgets_do_not_overlap() -> None:
    """The grid is 24 columns wide; what overlaps is moved about by the console."""
    cells = [
        (x, y)
        for widget in _rendered_dashboard()["widgets"]
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


@pytest.mark.parametrize(
    ("resource", "policy"), [("TopicPolicy", "PolicyDocument"), ("TopicKey", "KeyPolicy")]
)
def test_a_service_acts_for_this_account_alone(resource: str, policy: str) -> None:
    document = MONITORING["Resources"][resource]["Properties"][policy]
    statements = [node for node in _nodes(document) if "Service" in node.get("Principal", ())]

    assert {statement["Principal"]["Service"] for statement in statements} == {
        "cloudwatch.amazonaws.com",
        "budgets.amazonaws.com",
    }
    for statement in statements:
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        assert "AWS::AccountId" in _text(statement["Condition"]["ArnLike"]["aws:SourceArn"])


def test_the_alarms_are_called_what_the_topic_lets_in() -> None:
    """The topic and its key take from alarms of this prefix, and drop any other without a word."""
    for alarm in (*ALARMS.values(), *COMPOSITES.values()):
        assert _text(alarm["AlarmName"]).startswith("${RelayStack}-")


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("AlertEmail", ["", "me@example.org"], ["me", "a b@example.org"]),
        ("BudgetTag", ["", "project$voice-relay", "a:b$c"], ["project", "$x", "project$"]),
        ("RelayStack", ["voice-relay", "a"], ["", "-x", "a_b"]),
    ],
)
def test_takes_what_has_the_parameters_form(parameter: str, good: list[str], bad: list[str]) -> None:
    pattern = PARAMETERS[parameter]["AllowedPattern"]

    assert all(re.fullmatch(pattern, value) for value in good)
    assert not any(re.fullmatch(pattern, value) for value in bad)

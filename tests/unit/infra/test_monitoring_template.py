"""The monitoring template: every alarm has an effect and a first step."""

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
    """Return every mapping in *document*."""
    if isinstance(document, dict):
        return [document, *(node for value in document.values() for node in _nodes(value))]
    if isinstance(document, list):
        return [node for value in document for node in _nodes(value)]
    return []


def _text(value: Any) -> str:
    return str(value["Fn::Sub"]) if isinstance(value, dict) else str(value)


def _imported(value: Any) -> str:
    """Return the relay's output that *value* imports."""
    name = value["Fn::ImportValue"]["Fn::Sub"]
    assert name.startswith("${RelayStack}-")
    return str(name.removeprefix("${RelayStack}-"))


def test_passes_cfn_lint() -> None:
    lint = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), TEMPLATE], capture_output=True, text=True, check=False
    )

    assert (lint.stdout, lint.stderr, lint.returncode) == ("", "", 0)


@pytest.mark.parametrize("section", ["Parameters", "Outputs"])
def test_describes_parameters_and_outputs(section: str) -> None:
    for name, declared in MONITORING[section].items():
        assert declared["Description"].endswith((".", ")")), name
        assert len(declared["Description"]) > 15, name


def test_parameters_have_default_and_group() -> None:
    groups = MONITORING["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]

    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(PARAMETERS)
    assert all("Default" in declared for declared in PARAMETERS.values())


def test_imports_exist_in_relay() -> None:
    imports = {_imported(node) for node in _nodes(MONITORING["Resources"]) if "Fn::ImportValue" in node}

    assert imports <= RELAY["Outputs"].keys()
    assert len(imports) == 11


def test_each_alarm_is_in_one_composite() -> None:
    """An alarm in none has no effect; an alarm in two pages twice."""
    referred = [
        name
        for composite in COMPOSITES.values()
        for name in re.findall(r'ALARM\("\$\{(\w+)\.Arn\}"\)', _text(composite["AlarmRule"]))
    ]

    assert sorted(referred) == sorted(ALARMS)
    assert COMPOSITES.keys() == PAGES


def test_only_composites_notify() -> None:
    """They notify when they go off and when they recover."""
    for alarm in ALARMS.values():
        assert not [name for name in alarm if name.endswith("Actions")]
    for composite in COMPOSITES.values():
        assert composite["AlarmActions"] == composite["OKActions"] == [{"Ref": "Topic"}]
        assert "ActionsEnabled" not in composite


def test_failure_suppresses_latency() -> None:
    """Long enough for a failure to show after the latency, and for the latency to outlast it."""
    late = COMPOSITES["Late"]
    slowest_s = max(
        ALARMS[name]["Period"] * ALARMS[name].get("DatapointsToAlarm", ALARMS[name]["EvaluationPeriods"])
        for name in ("NotifyFailed", "DigestFailed", "ProxyRefused", "ProxyFaults")
    )

    assert late["ActionsSuppressor"] == {"Fn::GetAtt": ["WayOut", "Arn"]}
    assert late["ActionsSuppressorWaitPeriod"] >= slowest_s
    assert late["ActionsSuppressorExtensionPeriod"] >= slowest_s


@pytest.mark.parametrize("name", ALARMS)
def test_alarm_names_first_step(name: str) -> None:
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
def test_named_commands_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An on-call person must be able to run them."""
    with pytest.raises(SystemExit) as exited:
        main([*command.split(), "--help"])

    assert exited.value.code == 0
    assert f"voice-relay {command}" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMPOSITES)
def test_composite_explains_each_cause(name: str) -> None:
    """Only the composite's description is in the e-mail, not those of its children."""
    description = _text(COMPOSITES[name]["AlarmDescription"])
    causes = re.findall(r"\$\{(\w+)\.Arn\}", _text(COMPOSITES[name]["AlarmRule"]))

    # Names are longer than their placeholders, but by less than 40 bytes each.
    assert len(description) + 40 * len(causes) < LONGEST_DESCRIPTION
    for cause in causes:
        assert re.search(rf"^.*\$\{{{cause}\}}[^:]*: \w", description, re.MULTILINE), cause


def test_only_silence_treats_missing_as_breaching() -> None:
    treatments = {name: alarm["TreatMissingData"] for name, alarm in ALARMS.items()}

    assert {name for name, treatment in treatments.items() if treatment == "breaching"} == {"BotSilent"}
    assert set(treatments.values()) == {"breaching", "notBreaching"}


def test_silence_counts_per_minute() -> None:
    """A sum over several minutes would let one process make up for a dead one."""
    alarm = ALARMS["BotSilent"]

    assert (alarm["Period"], alarm["Statistic"]) == (60, "Sum")
    assert alarm["Threshold"] == {"Ref": "BotProcesses"}
    assert alarm["EvaluationPeriods"] == alarm["DatapointsToAlarm"] == {"Ref": "SilenceMinutes"}
    assert PARAMETERS["SilenceMinutes"]["MaxValue"] * 60 <= LONGEST_EVALUATION_S


def test_evaluation_fits_cloudwatch_limit() -> None:
    for name, alarm in ALARMS.items():
        if name != "BotSilent":
            assert alarm["Period"] * alarm["EvaluationPeriods"] <= LONGEST_EVALUATION_S
            assert alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"]


def test_watches_both_workflows() -> None:
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
        ("SignalStateMachineArn", "ExecutionsFailed"),
    }


def test_watches_both_apis() -> None:
    """For 5xx and the 99th percentile of the latency."""
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


def test_log_metrics_are_watched() -> None:
    """Each has an alarm, and no default value, so it costs only when it is written."""
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


def _rendered_dashboard() -> Any:
    text, values = MONITORING["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    values = dict(values)
    separator, arns = values.pop("AlarmArns")["Fn::Join"]
    given: dict[str, str] = {name: f"the-{name}" for name in values} | {
        "AlarmArns": separator.join(_text(arn) for arn in arns),
        "BotProcesses": "1",
    }
    return json.loads(re.sub(r"\$\{([\w:]+)\}", lambda match: given.get(match[1]) or match[1], text))


def test_dashboard_shows_every_alarm() -> None:
    (widget,) = (w for w in _rendered_dashboard()["widgets"] if w["type"] == "alarm")
    shown = "\n".join(widget["properties"]["alarms"])

    assert len(widget["properties"]["alarms"]) == len(ALARMS) + len(COMPOSITES)
    for name in ALARMS:
        assert f"{name}.Arn" in shown
    for composite in COMPOSITES.values():
        assert _text(composite["AlarmName"]).removeprefix("${RelayStack}") in shown


def test_dashboard_draws_watched_metrics() -> None:
    drawn = json.dumps(_rendered_dashboard())

    for name, alarm in ALARMS.items():
        assert f'"{alarm["MetricName"]}"' in drawn, name


def test_dashboard_widgets_do_not_overlap() -> None:
    """The grid is 24 columns wide, and the console moves overlapping widgets."""
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
def test_services_act_for_own_account(resource: str, policy: str) -> None:
    document = MONITORING["Resources"][resource]["Properties"][policy]
    statements = [node for node in _nodes(document) if "Service" in node.get("Principal", ())]

    assert {statement["Principal"]["Service"] for statement in statements} == {
        "cloudwatch.amazonaws.com",
        "budgets.amazonaws.com",
    }
    for statement in statements:
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        assert "AWS::AccountId" in _text(statement["Condition"]["ArnLike"]["aws:SourceArn"])


def test_alarm_names_match_topic_policy() -> None:
    """The topic and its key accept alarms with this prefix, and drop any other silently."""
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
def test_parameter_patterns(parameter: str, good: list[str], bad: list[str]) -> None:
    pattern = PARAMETERS[parameter]["AllowedPattern"]

    assert all(re.fullmatch(pattern, value) for value in good)
    assert not any(re.fullmatch(pattern, value) for value in bad)

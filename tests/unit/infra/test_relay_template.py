"""What the template promises in writing: descriptions, exports, retention, and no secret."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.deploy import TEMPLATE
from infra.template import build_template
from tests.unit.infra.template_yaml import load_template

RELAY = load_template(TEMPLATE.read_text())


def _resources(kind: str) -> dict[str, Any]:
    return {name: value["Properties"] for name, value in RELAY["Resources"].items() if value["Type"] == kind}


def test_has_no_finding_of_cfn_lint(tmp_path: Path) -> None:
    """As it is in the repository, and with its workflow put in."""
    whole = tmp_path / "whole.yaml"
    whole.write_text(build_template(TEMPLATE))

    lint = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), TEMPLATE, whole],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (lint.stdout, lint.stderr, lint.returncode) == ("", "", 0)


@pytest.mark.parametrize("section", ["Parameters", "Outputs"])
def test_describes_each(section: str) -> None:
    for name, declared in RELAY[section].items():
        assert declared["Description"].endswith((".", ")")), name
        assert len(declared["Description"]) > 15, name


def test_groups_every_parameter() -> None:
    groups = RELAY["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]

    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(RELAY["Parameters"])


def test_exports_every_output_under_the_stacks_name() -> None:
    for name, output in RELAY["Outputs"].items():
        assert output["Export"]["Name"] == {"Fn::Sub": f"${{AWS::StackName}}-{name}"}


def test_every_log_is_kept_for_the_time_that_is_asked_for() -> None:
    groups = _resources("AWS::Logs::LogGroup")

    assert len(groups) == 3
    for properties in groups.values():
        assert properties["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_every_stage_logs_on_one_line_of_json_and_throttles() -> None:
    stages = _resources("AWS::ApiGatewayV2::Stage")

    assert len(stages) == 2
    for properties in stages.values():
        line = properties["AccessLogSettings"]["Format"]
        assert "\n" not in line
        assert json.loads(line)["requestId"] == "$context.requestId"
        assert {"ThrottlingRateLimit", "ThrottlingBurstLimit"} <= properties["DefaultRouteSettings"].keys()
        # What is in a path or a query may be a secret; a route key cannot.
        assert not re.search(r"\$context\.(path|identity\.userAgent)", line)


def test_every_state_machine_logs_without_payloads() -> None:
    """Inputs say who was where and when."""
    for properties in _resources("AWS::StepFunctions::StateMachine").values():
        assert properties["LoggingConfiguration"]["IncludeExecutionData"] is False


def test_every_route_wants_a_signature() -> None:
    routes = _resources("AWS::ApiGatewayV2::Route")

    assert {route["RouteKey"] for route in routes.values()} == {
        "POST /workflows/notify",
        "POST /destinations/default",
    }
    assert {route["AuthorizationType"] for route in routes.values()} == {"AWS_IAM"}


def test_names_no_webhook() -> None:
    """Neither the text nor a parameter: the URL is looked up by reference."""
    assert "/webhooks/" not in TEMPLATE.read_text()
    (integration,) = (
        properties
        for properties in _resources("AWS::ApiGatewayV2::Integration").values()
        if properties["IntegrationType"] == "HTTP_PROXY"
    )
    assert integration["IntegrationUri"]["Fn::Sub"].startswith("{{resolve:secretsmanager:")


@pytest.mark.parametrize(
    "agent", ["DiscordBot (https://example.org/relay, 1.0)", "DiscordBot (http://example.org, 2) extra"]
)
def test_takes_a_user_agent_of_discords_form(agent: str) -> None:
    assert re.fullmatch(RELAY["Parameters"]["UserAgent"]["AllowedPattern"], agent)


@pytest.mark.parametrize(
    "agent", ["", "curl/8", "DiscordBot", "DiscordBot (example.org, 1)", "DiscordBot (https://x)"]
)
def test_takes_no_other_user_agent(agent: str) -> None:
    assert not re.fullmatch(RELAY["Parameters"]["UserAgent"]["AllowedPattern"], agent)


def test_its_own_user_agent_is_of_discords_form() -> None:
    user_agent = RELAY["Parameters"]["UserAgent"]

    assert re.fullmatch(user_agent["AllowedPattern"], user_agent["Default"])

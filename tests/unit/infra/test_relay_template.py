"""What the template promises in writing: descriptions, exports, retention, and no secret."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.deploy.engine import TEMPLATE
from infra.deploy.template import MAX_INLINE_BYTES, build_template
from infra.deploy.template import load_template as load_whole
from tests.unit.infra.resolved import Resolved
from tooling.template_yaml import expand, load_template
from workflow.registry import WORKFLOWS

RELAY = load_template(TEMPLATE.read_text())
RESOURCES = expand(RELAY)["Resources"]
OF_THE_RELAY = [workflow for workflow in WORKFLOWS.values() if workflow.of_relay]
STARTABLE = [workflow.name for workflow in OF_THE_RELAY if workflow.startable]


def _resources(kind: str) -> dict[str, Any]:
    return {name: value["Properties"] for name, value in RESOURCES.items() if value["Type"] == kind}


def test_passes_cfn_lint(tmp_path: Path) -> None:
    """As it is in the repository, and with its workflow put in."""
    whole = tmp_path / "whole.yaml"
    # cfn-lint checks the definition's ARNs before it puts the substitutions in.
    whole.write_text(build_template(TEMPLATE).replace("${Partition}", "aws"))

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


def test_outputs_are_exported() -> None:
    for name, output in RELAY["Outputs"].items():
        assert output["Export"]["Name"] == {"Fn::Sub": f"${{AWS::StackName}}-{name}"}


def _logged() -> dict[str, Any]:
    """Return the logging of each workflow that has one, by the state machine's logical id."""
    return {
        name: properties["LoggingConfiguration"]
        for name, properties in _resources("AWS::StepFunctions::StateMachine").items()
        if "LoggingConfiguration" in properties
    }


def test_logs_have_the_retention() -> None:
    groups = _resources("AWS::Logs::LogGroup")

    # Those of the two APIs, and of the workflows that log.
    assert len(groups) == 2 + len(_logged())
    for properties in groups.values():
        assert properties["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_stages_log_and_throttle() -> None:
    stages = _resources("AWS::ApiGatewayV2::Stage")
    line = RELAY["Mappings"]["AccessLog"]["Line"]["Format"]

    assert len(stages) == 2
    for properties in stages.values():
        assert properties["AccessLogSettings"]["Format"] == line
        assert {"ThrottlingRateLimit", "ThrottlingBurstLimit"} <= properties["DefaultRouteSettings"].keys()
    assert "\n" not in line
    assert json.loads(line)["requestId"] == "$context.requestId"
    # What is in a path or a query may be a secret; a route key cannot.
    assert not re.search(r"\$context\.(path|identity\.userAgent)", line)


def test_logs_have_no_payloads() -> None:
    """Inputs say who was where and when."""
    logged = _logged()

    # The heartbeat has nothing to tell.
    assert logged.keys() == {each.logical_id for each in OF_THE_RELAY} - {WORKFLOWS["heartbeat"].logical_id}
    assert not any(logging["IncludeExecutionData"] for logging in logged.values())


def test_every_route_wants_a_signature() -> None:
    routes = Resolved().of_type("ApiGatewayV2::Route").values()

    assert {route["RouteKey"] for route in routes} == {
        *(f"POST /workflows/{name}" for name in STARTABLE),
        "POST /executions/status",
        "POST /executions/stop",
        "POST /executions/signal",
        "POST /destinations/default",
        "POST /destinations/mods",
    }
    assert {route["AuthorizationType"] for route in routes} == {"AWS_IAM"}


def test_route_targets_its_own_api() -> None:
    relay = Resolved()
    integrations = relay.of_type("ApiGatewayV2::Integration")
    routes = relay.of_type("ApiGatewayV2::Route").values()

    targets = [route["Target"].removeprefix("integrations/") for route in routes]

    assert sorted(targets) == sorted(integrations)
    for route, target in zip(routes, targets, strict=True):
        assert integrations[target]["ApiId"] == route["ApiId"]


@pytest.mark.parametrize("workflow", STARTABLE)
def test_start_maps_header_and_body(workflow: str) -> None:
    """The whole body: selecting a part of it would cut it to 100 KB first."""
    integration = Resolved().of_type("ApiGatewayV2::Integration")[f"{workflow.title()}Integration"]

    assert integration["RequestParameters"] == {
        "StateMachineArn": f"arn:aws:states:us-east-1:123456789012:stateMachine:relay-{workflow}",
        "Name": "$request.header.execution-name",
        "Input": "$request.body",
    }


def test_destination_has_its_own_integration() -> None:
    relay = Resolved(WebhookSecret="hooks", WebhookSecretVersion="v7")
    integrations = relay.of_type("ApiGatewayV2::Integration")

    for name in ("default", "mods"):
        integration = integrations[f"To{name}Integration"]
        uri = f"{{{{resolve:secretsmanager:hooks:SecretString:{name}::v7}}}}"
        assert integration["IntegrationUri"] == uri
        assert integration["RequestParameters"]["overwrite:querystring.wait"] == "true"


def test_few_destinations_fit_inline() -> None:
    """The limit holds for what the loop becomes, too."""
    template = load_whole(TEMPLATE)

    assert template.fits_inline
    assert template.expanded_bytes(4) <= MAX_INLINE_BYTES


def test_scan_exceptions_are_explained() -> None:
    for name, resource in RESOURCES.items():
        for exception in resource.get("Metadata", {}).get("checkov", {}).get("skip", ()):
            assert re.fullmatch(r"CKV_AWS_\d+", exception["id"]), name
            assert len(exception["comment"]) > 30, name


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
def test_takes_valid_user_agent(agent: str) -> None:
    assert re.fullmatch(RELAY["Parameters"]["UserAgent"]["AllowedPattern"], agent)


@pytest.mark.parametrize(
    "agent", ["", "curl/8", "DiscordBot", "DiscordBot (example.org, 1)", "DiscordBot (https://x)"]
)
def test_takes_no_other_user_agent(agent: str) -> None:
    assert not re.fullmatch(RELAY["Parameters"]["UserAgent"]["AllowedPattern"], agent)


def test_default_user_agent_is_valid() -> None:
    user_agent = RELAY["Parameters"]["UserAgent"]

    assert re.fullmatch(user_agent["AllowedPattern"], user_agent["Default"])

"""The kinds of stack match the engine, AWS's name limits and the package's files."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bot.cli import main as cli
from infra.deploy.engine import DEFAULT_STACK_NAME, TEMPLATE
from infra.deploy.stack_kinds import STACK_KINDS

ROOT = Path(__file__).parents[4]


def test_relay_kind_matches_engine() -> None:
    assert STACK_KINDS["relay"].template == TEMPLATE
    assert STACK_KINDS["relay"].stack_name(DEFAULT_STACK_NAME) == DEFAULT_STACK_NAME
    assert STACK_KINDS["github-oidc"].stack_name("other") == "other-github"


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachine.html
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
# https://docs.aws.amazon.com/apigatewayv2/latest/api-reference/apis.html
LONGEST = {"UserName": 64, "StateMachineName": 80, "LogGroupName": 512, "Name": 128}


def test_longest_stack_name_fits_resources() -> None:
    """No resource name built from the longest stack name exceeds AWS's limit."""
    made = re.findall(r" (\w*Name): !Sub (\S*\$\{AWS::StackName\}\S*)", TEMPLATE.read_text())
    assert {kind for kind, _ in made} == LONGEST.keys()
    lengths = {
        (kind, name): len(name.replace("${AWS::StackName}", "r" * STACK_KINDS["relay"].max_name))
        for kind, name in made
    }
    assert not {made for made, length in lengths.items() if length > LONGEST[made[0]]}
    assert LONGEST["UserName"] in lengths.values()


def test_refuses_overlong_name_before_aws(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(**_: object) -> None:
        raise AssertionError("AWS was asked")

    monkeypatch.setattr("infra.cli.stack_options.open_account", ask)
    longest = STACK_KINDS["relay"].max_name

    assert cli.main(["deploy", "--yes", "--no-env", "--stack-name", "r" * (longest + 1)]) == 2
    assert "has 61 characters, but may have at most 60" in capsys.readouterr().err
    with pytest.raises(AssertionError, match="AWS was asked"):
        cli.main(["deploy", "--yes", "--no-env", "--stack-name", "r" * longest])


def test_wheel_contains_templates_and_workflows(tmp_path: Path) -> None:
    """So that an installed voice-relay, and the one in the container, can deploy."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())

    sources = [*(ROOT / "infra").glob("*.yaml"), *(ROOT / "workflow").glob("*.json")]
    assert {path.relative_to(ROOT).as_posix() for path in sources} <= names
    assert {kind.template for kind in STACK_KINDS.values()} <= set(sources)

"""What the command line can deploy is there, in the package too."""

import subprocess
import sys
import zipfile
from pathlib import Path

from bot import deploy_arguments
from infra.deploy import DEFAULT_STACK_NAME, TEMPLATE
from infra.kinds import KINDS

ROOT = Path(__file__).parents[3]


def test_the_command_line_knows_the_kinds_without_reading_them() -> None:
    assert tuple(KINDS) == deploy_arguments.KINDS
    assert KINDS["relay"].template == TEMPLATE
    assert KINDS["relay"].stack_name(DEFAULT_STACK_NAME) == DEFAULT_STACK_NAME
    assert KINDS["github-oidc"].stack_name("other") == "other-github"


def test_the_wheel_has_every_template_and_workflow(tmp_path: Path) -> None:
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
    assert {kind.template for kind in KINDS.values()} <= set(sources)

"""The build pins the base image to a digest and records it; ``docker`` is a script here."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / ".ci/build"
DIGEST = f"sha256:{'a1' * 32}"
# Notes its arguments, and answers "image inspect" with the digests in $DIGESTS.
DOCKER = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1:3] == ["image", "inspect"]:
    print(os.environ["DIGESTS"])
"""


def build(folder: Path, *, digests: str) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """Return how the build ended and the calls of docker."""
    docker, calls = folder / "docker", folder / "calls"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    given = {"PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(calls), "DIGESTS": digests}
    ended = subprocess.run(
        [BUILD, "relay:1"], env={**os.environ, **given}, capture_output=True, text=True, check=False
    )
    return ended, [json.loads(line) for line in calls.read_text().splitlines()]


def test_builds_on_digest(tmp_path: Path) -> None:
    """The tag is resolved when the image is built, and the labels say to what."""
    ended, (pull, _, built) = build(tmp_path, digests=f"python@{DIGEST}\nmirror.example/python@{DIGEST}")

    assert ended.returncode == 0, ended.stderr
    (base,) = re.findall(r"^FROM (\S+) AS official$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert pull == ["pull", "--quiet", base]
    assert built[:3] == ["build", "--tag", "relay:1"]
    assert f"BASE={base}@{DIGEST}" in built
    assert f"org.opencontainers.image.base.name=docker.io/library/{base}" in built
    assert f"org.opencontainers.image.base.digest={DIGEST}" in built
    assert f"{base}@{DIGEST}" in ended.stdout


@pytest.mark.parametrize("digests", ["", "python:3.13", "python@sha256:beef"])
def test_builds_nothing_without_digest(tmp_path: Path, digests: str) -> None:
    ended, calls = build(tmp_path, digests=digests)

    assert ended.returncode == 1
    assert "names no digest" in ended.stderr
    assert [call[0] for call in calls] == ["pull", "image"]


@pytest.mark.parametrize("workflow", ["ci.yml", "deploy.yml"])
def test_pipeline_builds_with_it(workflow: str) -> None:
    text = (ROOT / ".github/workflows" / workflow).read_text()
    assert ".ci/build " in text
    assert "docker build" not in text


def test_run_records_image_and_base() -> None:
    """The run's summary names what it pushed, from the image's own labels."""
    text = (ROOT / ".github/workflows/deploy.yml").read_text()
    pushed = text[text.index("docker push") :]
    assert 'docker image inspect --format "$PUSHED" "$IMAGE" >> "$GITHUB_STEP_SUMMARY"' in pushed
    for label in ("base.name", "base.digest"):
        assert f'index .Config.Labels "org.opencontainers.image.{label}"' in text

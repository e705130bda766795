"""The container's files match the project; these tests need no container engine."""

import json
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bot.settings.settings import Settings
from tests.support.footprint import needed_mib
from tooling.locks import LOCKS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
RELAY: dict[str, Any] = COMPOSE["services"]["relay"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def instruction(name: str) -> str:
    """Return the arguments of the final image's instruction *name*."""
    final = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    (found,) = re.findall(rf"^{name} (.+)$", final, re.MULTILINE)
    return str(found)


def test_installs_the_whole_build_backend() -> None:
    match = re.search(r"keep = /\^\((.+)\)==/", DOCKERFILE)
    assert match is not None
    needed, waiting = set(), ["hatchling"]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in needed:
            continue
        needed.add(name)
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(
                {"python_version": "3.13", "extra": ""}
            ):
                waiting.append(requirement.name)
    assert set(match.group(1).split("|")) == needed


def test_copies_the_wheels_sources() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in ("bot", "infra", "workflow"):
        assert f"COPY {name}/ {name}/" in DOCKERFILE
        assert f"!{name}/" in ignored
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt", "requirements-dev.txt"):
        assert name in DOCKERFILE
        assert f"!{name}" in ignored
    assert ignored[1] == "*"


def test_relay_receives_signals_directly() -> None:
    assert json.loads(instruction("ENTRYPOINT")) == ["voice-relay"]
    assert json.loads(instruction("CMD")) == ["run"]
    assert instruction("STOPSIGNAL") == "SIGTERM"
    assert '["python", "-m", "bot.healthcheck"]' in instruction("HEALTHCHECK")


def test_is_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", instruction("USER"))
    assert RELAY["read_only"] is True
    assert RELAY["cap_drop"] == ["ALL"]
    assert RELAY["security_opt"] == ["no-new-privileges:true"]


def test_keeps_data_in_the_volume() -> None:
    assert instruction("VOLUME") == "/data"
    assert "VOICE_RELAY_DATA_DIR=/data" in DOCKERFILE
    assert RELAY["environment"] == {"VOICE_RELAY_DATA_DIR": "/data"}
    assert RELAY["volumes"] == ["data:/data"]
    assert "data" in COMPOSE["volumes"]


def test_secrets_are_settings() -> None:
    names = {f"voice_relay_{name}" for name in Settings.model_fields}
    assert set(RELAY["secrets"]) == set(COMPOSE["secrets"])
    assert set(RELAY["secrets"]) <= names


def test_secrets_stay_private() -> None:
    """The README gives them to the container's user instead of opening them to everybody."""
    readme = (ROOT / "README.md").read_text()
    user = instruction("USER").partition(":")[0]
    assert f"sudo chown {user} secrets/*" in readme
    assert "install -d -m 700 secrets" in readme
    assert "chmod 600 secrets/*" in readme
    assert not re.search(r"chmod [0-7]?[0-7]{2}[4-7] ", readme)


def test_compose_waits_longer_than_the_relay() -> None:
    grace_s = Settings.model_fields["shutdown_grace_s"].default
    assert float(RELAY["stop_grace_period"].removesuffix("s")) > grace_s + 5


def test_rotates_logs_and_restarts() -> None:
    assert RELAY["logging"]["driver"] == "json-file"
    assert set(RELAY["logging"]["options"]) == {"max-size", "max-file"}
    assert RELAY["restart"] == "unless-stopped"


def test_limits_memory_and_processes() -> None:
    """The limits hold what a relay on one machine was measured to need with so many executions, and /tmp."""
    (tmpfs,) = RELAY["tmpfs"]
    tmpfs_mib = int(tmpfs.partition("size=")[2].partition("m,")[0])
    assert RELAY["mem_limit"] == RELAY["memswap_limit"] == "1g"
    assert needed_mib(RELAY["pids_limit"]) + tmpfs_mib < 1024
    # A thousand digests wait five minutes each.
    assert RELAY["pids_limit"] >= 1_000 + 256


def test_base_image_can_be_replaced() -> None:
    """Dependabot reads the tag in a FROM, so the default is a stage of its own."""
    assert re.search(r"^ARG BASE=official$", DOCKERFILE, re.MULTILINE)
    official, *rest = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", official[0])
    assert official[1] == "official"
    assert rest == [("${BASE}", "build"), ("${BASE}", "")]
    dependabot = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())
    assert {"docker", "github-actions", "pip", "npm"} == {
        each["package-ecosystem"] for each in dependabot["updates"]
    }


def test_removes_setuid_and_setgid() -> None:
    assert "-perm /6000 -exec chmod ug-s" in DOCKERFILE


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_pins_actions_to_commits(workflow: Path) -> None:
    used = re.findall(r"uses: (.+)", workflow.read_text())
    assert used
    assert not [
        each for each in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", each)
    ]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_minimal_permissions(workflow: Path) -> None:
    document = yaml.safe_load(workflow.read_text())
    assert document["permissions"] == {"contents": "read"}
    assert "secrets." not in workflow.read_text()
    for job in document["jobs"].values():
        # Only a job in the environment can exchange its token for the deploy role.
        assert ("id-token" in job.get("permissions", {})) == (job.get("environment") == "production")


def test_audits_every_lock_file() -> None:
    """Each week, since an advisory can be about what is locked already."""
    ci = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    # YAML 1.1 reads the key "on" as true.
    assert len(ci[True]["schedule"]) == 1
    assert ci["jobs"]["audit"]["steps"][-1] == {"run": "make audit"}
    command = ["make", "--dry-run", "audit"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    audits = re.findall(r"pip-audit --strict --disable-pip --require-hashes [^&]*--requirement (\S+)", told)
    assert sorted(audits) == sorted(LOCKS)
    assert re.search(r"^cd .*/node && .* audit$", told, re.MULTILINE)


def test_deployments_queue_up() -> None:
    deploy = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text())
    assert deploy["concurrency"] == {"group": "deploy", "cancel-in-progress": False}


def test_tries_the_image_before_deploying() -> None:
    """As .ci/image does: no network, no capability, read-only root."""
    for workflow in WORKFLOWS:
        steps = [
            step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]
        ]
        (trying,) = [step["run"] for step in steps if "probe.py" in step.get("run", "")]
        for option in ("--network none", "--read-only", "--cap-drop ALL", "no-new-privileges", "noexec"):
            assert option in trying
    assert "tests/container/probe.py" in (ROOT / ".ci/image").read_text()

"""The start script of the service's instance, run with stubs for the machine's programs."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.deploy.engine import TEMPLATE as RELAY_TEMPLATE
from tooling.template_yaml import load_template

RESOURCES: dict[str, Any] = load_template(RELAY_TEMPLATE.with_name("service.yaml").read_text())["Resources"]
SCRIPT: str = RESOURCES["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"][
    "Fn::Sub"
]
HOME = "/srv/voice-relay"
SIGNAL = (
    "aws cloudformation signal-resource --stack-name arn:stack/svc --logical-resource-id Group "
    "--unique-id i-0123 --status"
)
OFF = "systemctl poweroff"


class Instance:
    """Runs the script with programs that only record their calls."""

    programs = (
        "aws",
        "blkid",
        "curl",
        "dnf",
        "install",
        "mkfs.xfs",
        "mount",
        "sleep",
        "systemctl",
        "xfs_growfs",
    )

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self._calls = directory / "calls"
        self._bin = directory / "bin"
        for name in ("etc/ecs", "dev/disk/by-id", "srv", "bin"):
            (self.root / name).mkdir(parents=True)
        self._bin.mkdir()
        self.answers: dict[str, str] = {"curl": "echo i-0123"}

    @property
    def device(self) -> Path:
        return self.root / "dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0abc"

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines()

    def file(self, name: str) -> str:
        path = self.root / name
        return path.read_text() if path.exists() else ""

    def start(self) -> int:
        for name in self.programs:
            program = self._bin / name
            program.write_text(
                f'#!/bin/bash\necho {name} "$@" >> {self._calls}\n{self.answers.get(name, "")}\n'
            )
            program.chmod(0o755)
        script = SCRIPT
        values = {
            "Data": "vol-0abc",
            "DataGiB": "4",
            "Cluster": "svc",
            "AWS::Region": "eu-west-1",
            "AWS::StackId": "arn:stack/svc",
        }
        script = re.sub(r"\$\{([A-Za-z:]+)\}", lambda match: values[match[1]], script).replace("${!", "${")
        for path in ("/etc/", "/dev/disk", "/srv/"):
            script = script.replace(path, f"{self.root}{path}")
        environment = {"PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}"}
        ended = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, check=False)
        return ended.returncode


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = Instance(tmp_path)
    made.device.touch()
    return made


def _started(calls: list[str], *beginnings: str) -> list[str]:
    return [call for call in calls if call.startswith(beginnings)]


def test_attaches_volume_and_joins_cluster(instance: Instance) -> None:
    assert instance.start() == 0

    home = f"{instance.root}{HOME}"
    assert _started(instance.calls, "aws", "mkfs", "mount", "install") == [
        "aws ec2 attach-volume --volume-id vol-0abc --instance-id i-0123 --device /dev/sdf",
        f"mount {home}",
        f"install --directory --owner=10001 --group=10001 --mode=0700 {home}/data",
        f"{SIGNAL} SUCCESS",
    ]
    assert not _started(instance.calls, OFF)
    assert "ECS_CLUSTER=svc\n" in instance.file("etc/ecs/ecs.config")
    assert f"{instance.device} {home} xfs " in instance.file("etc/fstab")


def test_formats_empty_volume(instance: Instance) -> None:
    """blkid exits with 2 for an empty device."""
    instance.answers["blkid"] = "exit 2"

    assert instance.start() == 0

    assert _started(instance.calls, "mkfs", "mount") == [
        f"mkfs.xfs -q {instance.device}",
        f"mount {instance.root}{HOME}",
    ]


def test_keeps_unreadable_volume(instance: Instance) -> None:
    """A device that blkid cannot probe is not formatted, and the start fails."""
    instance.answers |= {"blkid": "exit 8", "mount": "exit 32"}

    assert instance.start() != 0

    assert not _started(instance.calls, "mkfs")
    assert instance.calls[-2:] == [f"{SIGNAL} FAILURE", OFF]


def test_waits_for_volume_to_detach(instance: Instance, tmp_path: Path) -> None:
    """The previous instance may still have the volume attached."""
    instance.answers["aws"] = f"[[ $1 != ec2 || $(grep -c attach-volume {tmp_path}/calls) -gt 3 ]]"

    assert instance.start() == 0

    assert len(_started(instance.calls, "aws ec2 attach-volume")) == 4
    assert instance.calls[-1].endswith("--status SUCCESS")


def test_signals_failure_without_volume(instance: Instance) -> None:
    """It also powers off: the group would keep a running instance and try no other."""
    instance.answers["aws"] = "[[ $1 != ec2 ]]"

    assert instance.start() != 0

    assert instance.calls[-2:] == [f"{SIGNAL} FAILURE", OFF]
    assert not _started(instance.calls, "mount", "mkfs")
    assert instance.file("etc/ecs/ecs.config") == ""


def test_powers_off_if_signal_fails(instance: Instance) -> None:
    """CloudFormation accepts no signal when the group replaces an instance on its own."""
    instance.answers["aws"] = "exit 254"

    assert instance.start() != 0

    assert instance.calls[-1] == OFF


def test_grows_file_system(instance: Instance) -> None:
    """The size is in the script, so a new size replaces the instance, which then grows it."""
    assert instance.start() == 0

    home = f"{instance.root}{HOME}"
    assert _started(instance.calls, "mount", "xfs_growfs") == [f"mount {home}", f"xfs_growfs -d {home}"]
    assert "${DataGiB}" in SCRIPT


def test_blocks_ecs_without_volume_first(instance: Instance) -> None:
    """Before anything can fail, and on every later boot; else the bot would use the instance's disk."""
    instance.answers["curl"] = "exit 22"

    assert instance.start() != 0

    home = f"{instance.root}{HOME}"
    drop_in = instance.file("etc/systemd/system/ecs.service.d/data.conf")
    assert drop_in == f"[Unit]\nRequiresMountsFor={home}\nAssertPathIsMountPoint={home}\n"
    assert instance.calls[0] == "systemctl daemon-reload"
    assert instance.calls[-1] == OFF


def test_starts_if_signal_is_refused(instance: Instance) -> None:
    """CloudFormation refuses the signal when the group replaces an instance on its own."""
    instance.answers["aws"] = "[[ $1 != cloudformation ]]"

    assert instance.start() == 0

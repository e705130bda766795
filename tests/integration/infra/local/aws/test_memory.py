"""The embedded AWS keeps what an operator asks for soon, and does not grow with what it has run."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.deploy.engine import TEMPLATE
from infra.deploy.template import build_template
from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import Relay, Webhook, new_relay, unique
from tooling.template_yaml import load_template

_INPUT_BYTES = 200_000
_KEPT = 10


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The relay with a workflow that ends at once."""
    template = load_template(build_template(TEMPLATE))
    machine = template["Resources"]["NotifyStateMachine"]["Properties"]
    machine["DefinitionString"] = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})
    path = tmp_path_factory.mktemp("quick") / "relay.json"
    path.write_text(json.dumps(template))
    return path


@pytest.fixture(scope="module")
def relay(template: Path) -> Iterator[Relay]:
    with EmbeddedAws(retained_input_bytes=_KEPT * _INPUT_BYTES) as aws, Webhook() as webhook:
        yield new_relay(aws, webhook, template)


def _run(relay: Relay, executions: int) -> list[str]:
    """Run executions with large inputs one after the other, and return their names."""
    names = [unique("large") for _ in range(executions)]
    padding = "x" * (_INPUT_BYTES - 2)
    for name in names:
        assert relay.start(name, json.dumps(padding).encode()).status == 200
        relay.finished(name)
    return names


def _resident_bytes(relay: Relay) -> int:
    pages = int(Path(f"/proc/{relay.aws.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_keeps_fewer_large_executions(relay: Relay) -> None:
    names = _run(relay, _KEPT + 5)

    kept = relay.aws.client("stepfunctions").list_executions(
        stateMachineArn=relay.outputs["NotifyStateMachineArn"]
    )["executions"]
    assert [execution["name"] for execution in kept] == names[: -_KEPT - 1 : -1]
    refused = relay.start(names[0], b"{}")
    assert (refused.status, refused.json()["__type"].rpartition("#")[2]) == (400, "ExecutionAlreadyExists")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_flat(relay: Relay) -> None:
    """Each execution brings its input four times; 60 of them bring 48 MB."""
    _run(relay, 2 * _KEPT)
    before = _resident_bytes(relay)

    _run(relay, 60)

    assert _resident_bytes(relay) - before < 60 * _INPUT_BYTES

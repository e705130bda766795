"""``workflow/OWN.md``: every file on the page is deployed and run, and every command exists."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.actions.catalogue import ACTIONS
from bot.cli.main import build_parser
from bot.outbox.batch import Delivered
from bot.outbox.work import OutgoingEvent, Work
from bot.routing.lane import find_lane
from bot.routing.rules_file import load_rules
from bot.routing.targets import find_unknown, known_targets
from bot.voice.samples import build_sample
from tests.support.stores import NOW, names, open_store

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "workflow" / "OWN.md").read_text()


@dataclass(frozen=True)
class Block:
    """A block of code, and the file that the text before it names last."""

    language: str
    text: str
    file: str


def _blocks() -> list[Block]:
    found = []
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        named = re.findall(r"`([\w/]+\.(?:asl\.json|py|toml))`", PAGE[: match.start()])
        found.append(Block(match[1], match[2], named[-1] if named else ""))
    return found


BLOCKS = _blocks()
COMMANDS = [
    line.partition("#")[0].split()[1:]
    for block in BLOCKS
    if block.language == "sh"
    for line in block.text.splitlines()
    if line.startswith("voice-relay ")
] + [text.split()[1:] for text in re.findall(r"`(voice-relay [^`]+)`", PAGE)]


def _write(folder: Path, block: Block) -> None:
    path = folder / block.file
    path.parent.mkdir(exist_ok=True)
    path.write_text(block.text)


def _pytest(folder: Path, file: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def test_starting_point_is_shown() -> None:
    (shown,) = (block.text for block in BLOCKS[:3] if block.language == "json")

    assert shown == (ROOT / "workflow" / "starter" / "definition.asl.json").read_text()


@pytest.mark.parametrize(
    "number", [number for number, block in enumerate(BLOCKS) if block.language == "python"]
)
def test_workflow_passes_its_test(number: int, tmp_path: Path) -> None:
    """Each test runs the definition above it."""
    definition = next(block for block in reversed(BLOCKS[:number]) if block.language == "json")
    test = BLOCKS[number]
    assert test.file == definition.file.replace("/", "/test_").replace(".asl.json", ".py")
    _write(tmp_path, definition)
    _write(tmp_path, test)

    assert " passed" in _pytest(tmp_path, test.file)


def test_every_definition_is_tested() -> None:
    languages = [block.language for block in BLOCKS if block.language in ("json", "python")]

    # The first has the test that voice-relay workflow new writes.
    assert languages == ["json", *["json", "python"] * (len(languages) // 2)]
    assert len(languages) == 7


@pytest.mark.parametrize("rules", [block.text for block in BLOCKS if block.language == "toml"])
def test_rules_are_valid(rules: str, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(rules)
    targets = known_targets(single_machine=True, workflows=["greet", "welcome", "ask"])

    assert find_unknown(load_rules(tmp_path / "rules.toml", targets), targets) == []


@pytest.mark.parametrize("rules", [block.text for block in BLOCKS if block.language == "toml"])
def test_rules_keep_events_apart(rules: str, tmp_path: Path) -> None:
    """The definitions look at one event: of several people who join at once, each gets an execution."""
    (tmp_path / "rules.toml").write_text(rules)
    event = build_sample("joined")
    (route,) = load_rules(tmp_path / "rules.toml").route(event)
    lane = find_lane(route.workflow, event["data"]["guild"]["id"])
    joined = [
        OutgoingEvent(lane, route.destination, name, "{}", route.batch_max_events, route.parameters)
        for name in "abc"
    ]
    store = open_store(tmp_path, None)

    (first,) = store.apply(Work(events=joined), slots=8, now_ms=NOW)
    (second,) = store.apply(Work(reports=[Delivered(first, "arn", 1)]), slots=8, now_ms=NOW)

    store.close()
    assert names([first, second]) == ["a", "b"]


def test_actions_are_the_bots() -> None:
    """The table names each with all that it takes, besides what the sentence before says of every one."""
    rows = re.findall(
        r"^\| (`[a-z_`, ]+) \| ([^|]*) \| [^|]*\|$", PAGE.partition("## Actions")[2], re.MULTILINE
    )
    table = {
        action: set(re.findall(r"`(\w+)`", takes))
        for names, takes in rows
        for action in re.findall(r"\w+", names)
    }

    assert table.keys() == ACTIONS.keys()
    for name, takes in table.items():
        assert takes | {"action", "key", "reason"} == ACTIONS[name].asked.model_fields.keys(), name


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_exist(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flags of a deployment are those that the definition on the page needs."""
    for block in BLOCKS:
        if block.language == "json":
            _write(tmp_path, block)
    monkeypatch.chdir(tmp_path)
    given = [word.replace("NAME", "x").replace("ARN", "arn") for word in words]

    arguments = build_parser().parse_args(given)

    arguments.command.read_options(arguments)

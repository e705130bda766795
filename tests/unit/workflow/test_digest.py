"""The digest: what it says, that it says no names, and that it posts with the same care as notify."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.voice.events import EVENT
from infra.local.discord.webhook_validation import check_message
from tests.unit.workflow.any_event import NASTY, NOW, Event, envelope, events

States = dict[str, Any]
Evaluate = Callable[..., Any]

_DEFINITION = Path(__file__).parents[3] / "workflow" / "digest.asl.json"
DELAY_S = 300
MAX_DELAY_S = 86_400

WHEN, LATER = "2026-11-21T07:00:00.987Z", "2026-11-21T08:30:00.000Z"
AT, UNTIL = "<t:1795244400:f>", "<t:1795249800:f>"
NELLY, MOLLY = "80351110224678912", "80351110224678913"


@pytest.fixture(scope="module")
def machine() -> dict[str, Any]:
    """The definition as CloudFormation hands it on, with its delay put in."""
    text = _DEFINITION.read_text(encoding="utf-8").replace("${DigestDelaySeconds}", str(DELAY_S))
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def digest(machine: dict[str, Any]) -> States:
    states: States = machine["States"]
    return states


@pytest.fixture(scope="module")
def message(digest: States, evaluate: Evaluate) -> Callable[[Any], dict[str, Any]]:
    def built(batch: Any) -> dict[str, Any]:
        body: dict[str, Any] = evaluate(
            digest["Post"]["Arguments"]["RequestBody"], execution={"destination": "default", "events": batch}
        )
        return body

    return built


@pytest.fixture(scope="module")
def lines(message: Callable[[Any], dict[str, Any]]) -> Callable[..., list[str]]:
    def shown(*batch: Event) -> list[str]:
        description: str = message(list(batch))["embeds"][0]["description"]
        return description.split("\n")

    return shown


def voice(kind: str, *, who: str = NELLY, time: str = WHEN, inferred: bool = False) -> Event:
    guild = {"id": "41771983423143937", "name": "Base"}
    flags = ("self_mute", "self_deaf", "mute", "deaf", "self_stream", "self_video", "suppress")
    data = {
        "guild": guild,
        "user": {"id": who, "name": "nelly", "display_name": "Nelly", "bot": False},
        "channel": None,
        "previous_channel": None,
        "changes": {},
        "occupants": 1,
        "duration_s": None,
        "inferred": inferred,
        "state": dict.fromkeys(flags, False),
    }
    event = envelope(kind, data, time=time)
    EVENT.validate_python(event)
    return event


def gap(time: str = WHEN) -> Event:
    data = {"guild": {"id": "1", "name": None}, "from": None, "until": time, "reason": "restart"}
    return envelope("gap", data, time=time)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ([voice("joined")], ["📊 1 joined, by 1 person", f"At {AT}"]),
        (
            [voice("joined"), voice("joined", who=MOLLY), voice("left", time=LATER)],
            ["📊 2 joined · 1 left, by 2 people", f"From {AT} until {UNTIL}"],
        ),
        (
            [voice("moved"), voice("updated"), voice("updated", inferred=True)],
            ["📊 1 moved · 2 changes, by 1 person", f"At {AT}", "1 of these inferred afterwards"],
        ),
        ([voice("updated")], ["📊 1 change, by 1 person", f"At {AT}"]),
        (
            [gap(), voice("joined", time=LATER)],
            [
                "📊 1 joined, by 1 person",
                f"From {AT} until {UNTIL}",
                "⚠️ Not watching for a while, so there may have been more",
            ],
        ),
        (
            [gap(), gap(LATER)],
            [
                f"From {AT} until {UNTIL}",
                "⚠️ Not watching for a while (2 times), so there may have been more",
            ],
        ),
        ([], ["Nothing happened"]),
    ],
)
def test_says(batch: list[Event], expected: list[str], lines: Callable[..., list[str]]) -> None:
    assert lines(*batch) == expected


def test_span_ignores_order(lines: Callable[..., list[str]]) -> None:
    """A gap's time is when it ended, so times need not rise."""
    assert lines(voice("left", time=LATER), voice("joined"))[1] == f"From {AT} until {UNTIL}"


def test_counts_unknown_events(lines: Callable[..., list[str]]) -> None:
    assert lines(envelope("sneezed", {}), envelope("sneezed", {}))[0] == "📊 2 other events"


def test_gap_colours_the_message(message: Callable[[Any], dict[str, Any]]) -> None:
    colours = {message(batch)["embeds"][0]["color"] for batch in ([voice("joined")], [gap()])}
    assert len(colours) == 2


@settings(max_examples=60, deadline=None)
@given(batch=st.lists(events, max_size=40))
def test_any_batch_makes_a_valid_message(
    batch: list[Event], message: Callable[[Any], dict[str, Any]]
) -> None:
    body = message(batch)
    assert check_message(body, with_components=False) is None
    assert body["allowed_mentions"] == {"parse": []}
    # SUPPRESS_NOTIFICATIONS, https://docs.discord.com/developers/resources/message#message-object-message-flags
    assert body["flags"] == 1 << 12
    assert len(body["embeds"][0]["description"]) < 400


def _rename(node: Any, name: str) -> Any:
    """The same with every string that a user chose, and every id, replaced."""
    if isinstance(node, list):
        return [_rename(item, name) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: name if key in ("name", "display_name", "id") else _rename(value, name)
        for key, value in node.items()
    }


@settings(max_examples=40, deadline=None)
@given(event=events, name=st.sampled_from(NASTY) | st.text(max_size=32))
def test_no_name_or_id_shows(event: Event, name: str, message: Callable[[Any], dict[str, Any]]) -> None:
    assert message([_rename(copy.deepcopy(event), name)]) == message([_rename(event, "")])


@settings(max_examples=60, deadline=None)
@given(
    batch=st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["type", "time", "data", "user", "id", "inferred"]), inner)
        ),
        max_leaves=12,
    )
)
def test_repeats_nothing_of_odd_input(batch: Any, message: Callable[[Any], dict[str, Any]]) -> None:
    """An input of another shape gives only numbers and the digest's own words."""
    words = (
        r"joined|left|moved|changes?|other events?|by|person|people|At|From|until|<t:\d+:f>|\d+|of these"
        r"|inferred afterwards|Not watching for a while|\(\d+ times\)|so there may have been more"
        r"|Nothing happened|[📊·,⚠️ \n]"
    )
    description = message(batch)["embeds"][0]["description"]
    assert re.fullmatch(f"(?:{words})*", description), description


@pytest.mark.parametrize("time", ["2026-11-21", "<@1>", f"{NOW}\n", 1795244400, None, ["2026"], {"a": 1}])
def test_invalid_time_is_not_printed(time: Any, lines: Callable[..., list[str]]) -> None:
    assert lines(voice("joined") | {"time": time}) == ["📊 1 joined, by 1 person"]


def test_output_has_the_counts(digest: States, evaluate: Evaluate) -> None:
    batch = [voice("joined"), voice("left", who=MOLLY), voice("moved"), gap()]
    output = evaluate(digest["Post"]["Output"], execution={"events": batch}, result=None)

    assert output == {
        "posted": 4,
        "joined": 1,
        "left": 1,
        "moved": 1,
        "updated": 0,
        "gaps": 1,
        "people": 2,
    }


def test_waits_its_delay_first(machine: dict[str, Any], digest: States, evaluate: Evaluate) -> None:
    start = digest[machine["StartAt"]]

    assert start["Type"] == "Wait"
    assert evaluate(start["Seconds"]) == DELAY_S
    assert start["Next"] == "Post"


# How a message is posted, retried, waited out and given up; notify's own tests say what that is.
SHARED = ("Resource", "TimeoutSeconds", "Retry", "Catch", "End")


@pytest.mark.parametrize("field", SHARED)
def test_posts_as_notify_does(field: str, digest: States, states: States) -> None:
    assert digest["Post"][field] == states["Post"][field]


def test_posts_to_the_same_place(digest: States, states: States) -> None:
    differing = ("RequestBody",)
    mine, theirs = (
        {key: value for key, value in machine["Post"]["Arguments"].items() if key not in differing}
        for machine in (digest, states)
    )
    assert mine == theirs


def test_waits_out_as_notify_does(digest: States, states: States) -> None:
    own = {"WaitForQuiet", "Post"}
    shared = states.keys() - own

    assert digest.keys() == shared | own
    assert {name: digest[name] for name in shared} == {name: states[name] for name in shared}


def test_timeout_follows_longest_delay(machine: dict[str, Any], text: str) -> None:
    """Notify's own patience, behind the longest delay that the template takes."""
    assert machine["TimeoutSeconds"] == json.loads(text)["TimeoutSeconds"] + MAX_DELAY_S

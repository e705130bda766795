"""Any events make a message that Discord takes, and no name changes anything in it."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.voice.events import EVENT
from infra.local.discord.webhook_validation import check_message
from tests.unit.workflow.any_event import FLAGS, NASTY, NOW, WIDE, Event, envelope, events
from workflow.registry import max_events

Message = Callable[[list[Event]], dict[str, Any]]

# https://docs.discord.com/developers/resources/message#embed-object-embed-limits
MAX_DESCRIPTION, MAX_EMBEDS = 4096, 6000
FULL_BATCH = max_events("notify")


def utf16_units(text: str) -> int:
    """The stricter of the two ways to count what Discord calls characters."""
    return len(text.encode("utf-16-le")) // 2


def check(body: dict[str, Any]) -> str:
    """Hold *body* to every documented limit and return the text of its embeds, line by line."""
    assert body.keys() == {"embeds", "allowed_mentions"}
    assert body["allowed_mentions"] == {"parse": []}
    for embed in body["embeds"]:
        assert embed.keys() == {"description", "color"}
        assert 0 <= embed["color"] <= 0xFFFFFF
        assert embed["description"].strip("\n") == embed["description"]
        assert 0 < utf16_units(embed["description"]) <= MAX_DESCRIPTION
    texts = [embed["description"] for embed in body["embeds"]]
    assert sum(map(utf16_units, texts)) <= MAX_EMBEDS
    assert check_message(body, with_components=False) is None
    return "\n".join(texts)


def shown_and_more(text: str) -> tuple[int, int]:
    *lines, last = text.split("\n")
    cut = re.fullmatch(r"… and (\d+) more", last)
    return (len(lines), int(cut[1])) if cut else (len(lines) + 1, 0)


@settings(max_examples=60, deadline=None)
@given(batch=st.lists(events, min_size=1, max_size=60))
def test_any_batch_stays_within_limits(batch: list[Event], message: Message) -> None:
    for event in batch:
        EVENT.validate_python(event)
    shown, more = shown_and_more(check(message(batch)))
    assert shown + more == len(batch)


def _rename(event: Event, name: str | None) -> Event:
    """The same event with every string that a user chose replaced."""
    renamed = copy.deepcopy(event)
    data = renamed["data"]
    data["guild"]["name"] = name
    for part, fields in (
        ("user", ("name", "display_name")),
        ("channel", ("name",)),
        ("previous_channel", ("name",)),
    ):
        if data.get(part):
            data[part].update(dict.fromkeys(fields, name))
    return renamed


@settings(max_examples=40, deadline=None)
@given(event=events, name=st.sampled_from(NASTY) | st.text(max_size=32))
def test_names_change_nothing(event: Event, name: str, message: Message) -> None:
    """Not one character of the message depends on a name."""
    assert message([_rename(event, name)]) == message([_rename(event, None)])


def longest(kind: str, *, name: str = WIDE, flags: int = len(FLAGS)) -> Event:
    """The event of a kind whose line is the longest, ids as long as a snowflake can be."""
    channel = {"id": "9" * 20, "name": name, "kind": "stage"}
    guild = {"id": "9" * 20, "name": name}
    if kind == "gap":
        return envelope("gap", {"guild": guild, "from": NOW, "until": NOW, "reason": "store_full"})
    data = {
        "guild": guild,
        "user": {"id": "9" * 20, "name": name, "display_name": name, "bot": False},
        "channel": channel,
        "previous_channel": channel,
        "changes": dict.fromkeys(FLAGS[:flags], False),
        "occupants": 99,
        "duration_s": 86_399.0,
        "inferred": True,
        "state": dict.fromkeys(FLAGS, False),
    }
    return envelope(kind, data)


@pytest.mark.parametrize("size", [1, FULL_BATCH, 100, 500])
@pytest.mark.parametrize("kind", ["joined", "left", "moved", "updated", "gap"])
def test_largest_batch_fits(kind: str, size: int, message: Message) -> None:
    batch = [longest(kind)] * size
    EVENT.validate_python(batch[0])
    text = check(message(batch))
    assert "𒐫" not in text
    shown, more = shown_and_more(text)
    assert shown + more == size
    # As many as fit: another line would not have. The sign of a gap is counted as one unit too long.
    first = text.split("\n", 1)[0]
    slack = 64 + (shown if kind == "gap" else 0)
    assert not more or utf16_units(text) + utf16_units(first) > MAX_EMBEDS - slack


def test_cut_leaves_room_for_last_line(message: Message) -> None:
    """A character more at a time, until the cut has moved by a whole line."""
    lengths = set()
    for padding in range(0, 120, 3):
        batch = [longest("joined") for _ in range(200)]
        for event in batch[:8]:
            shorter = min(padding, 15)
            padding -= shorter
            event["data"]["user"]["id"] = "9" * (20 - shorter)
        lengths.add(utf16_units(check(message(batch))))
    assert max(lengths) - min(lengths) > 60, "the cut did not move"
    assert MAX_EMBEDS - 48 < max(lengths) <= MAX_EMBEDS


@pytest.mark.parametrize("kind", ["joined", "left", "moved", "gap"])
def test_full_batch_fits(kind: str, message: Message) -> None:
    assert shown_and_more(check(message([longest(kind)] * FULL_BATCH))) == (FULL_BATCH, 0)


def test_full_batch_of_flags_fits(message: Message) -> None:
    batch = [longest("updated", flags=2)] * FULL_BATCH
    assert shown_and_more(check(message(batch))) == (FULL_BATCH, 0)


def test_another_longest_line_does_not_fit(message: Message) -> None:
    """The workflow takes no fewer events than it can show."""
    batch = [longest("moved")] * (FULL_BATCH + 1)
    assert shown_and_more(check(message(batch))) == (FULL_BATCH, 1)


def test_lines_keep_their_order(message: Message) -> None:
    """From one embed to the next, and the last one only says how many more there are."""
    batch = [longest("moved") for _ in range(60)]
    for number, event in enumerate(batch):
        event["data"]["user"]["id"] = f"{number:020d}"
    body = message(batch)
    text = check(body)
    shown, more = shown_and_more(text)
    assert [int(number) for number in re.findall(r"<@(\d+)>", text)] == list(range(shown))
    assert (len(body["embeds"]), shown + more) == (2, 60)


def test_no_line_after_the_cut(message: Message) -> None:
    """A short line behind a long one must not slip in, or the lines would no longer be consecutive."""
    batch = [longest("moved")] * 40 + [longest("joined")] * 3
    text = check(message(batch))
    assert "joined" not in text
    assert shown_and_more(text)[1] >= 3


@pytest.mark.parametrize(
    "identity",
    ["@everyone", "1> <@&2", "123456789012345678901", "", " 1", "1\n", None, True, ["1"], {"id": "1"}],
)
def test_invalid_id_is_not_printed(identity: Any, message: Message) -> None:
    """Ids come from Discord, but only what looks like one becomes a mention."""
    event = longest("moved")
    event["data"]["user"] = {"id": identity}
    event["data"]["channel"] = event["data"]["previous_channel"] = {"id": identity}
    text = check(message([event]))
    assert "somebody moved from a voice channel to a voice channel" in text


@pytest.mark.parametrize(
    "time", ["2026-11-21", "<@1>", "2026-13-01T00:00:00.000Z", f"{NOW}\n", 1795244400, None, "now"]
)
def test_invalid_time_is_not_printed(time: Any, message: Message) -> None:
    event = longest("joined") | {"time": time}
    assert check(message([event])).startswith("🟢 ")

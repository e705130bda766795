"""What a reader sees for each event."""

from collections.abc import Callable
from typing import Any, get_args

import pytest

from bot.voice.events import EVENT, GapReason
from infra.local.audit import parse_message
from infra.local.audit.facts import build_gap

Lines = Callable[..., list[str]]
Message = Callable[[list[Any]], dict[str, Any]]

WHEN, CLOCK = "2026-11-21T07:00:00.987Z", "<t:1795244400:T>"
NELLY, LOUNGE, STAGE = "80351110224678912", "127121515262115840", "127121515262115841"
OFF = dict.fromkeys(
    ("self_mute", "self_deaf", "mute", "deaf", "self_stream", "self_video", "suppress"), False
)


def channel(channel_id: str, name: str | None = "General", kind: str = "voice") -> dict[str, Any]:
    return {"id": channel_id, "name": name, "kind": kind}


def envelope(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    event = {
        "specversion": "1.0",
        "id": "01JD",
        "source": "/discord/guilds/41771983423143937",
        "type": f"discord.voice.{kind}",
        "time": WHEN,
        "data": {"guild": {"id": "41771983423143937", "name": "Base"}, **data},
    }
    return event if kind == "gap" else event | {"subject": f"users/{NELLY}"}


def voice(kind: str, **fields: Any) -> dict[str, Any]:
    data = {
        "user": {"id": NELLY, "name": "nelly", "display_name": "Nelly", "bot": False},
        "channel": None,
        "previous_channel": None,
        "changes": {},
        "occupants": 3,
        "duration_s": None,
        "inferred": False,
        "state": OFF,
    }
    event = envelope(kind, data | fields)
    EVENT.validate_python(event)
    return event


def joined(**fields: Any) -> dict[str, Any]:
    return voice("joined", **{"channel": channel(LOUNGE)} | fields)


def left(**fields: Any) -> dict[str, Any]:
    return voice("left", **{"previous_channel": channel(LOUNGE)} | fields)


def moved(**fields: Any) -> dict[str, Any]:
    return voice("moved", **{"previous_channel": channel(LOUNGE), "channel": channel(STAGE)} | fields)


def updated(**changes: bool) -> dict[str, Any]:
    return voice("updated", channel=channel(LOUNGE), changes=changes, state=OFF | changes)


def gap(
    since: str | None = "2026-11-21T06:00:00.000Z", until: str = WHEN, reason: str = "restart"
) -> dict[str, Any]:
    event = envelope("gap", {"from": since, "until": until, "reason": reason})
    EVENT.validate_python(event)
    return event


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (joined(), f"{CLOCK} 🟢 <@{NELLY}> joined <#{LOUNGE}> · 3 there"),
        (joined(occupants=1), f"{CLOCK} 🟢 <@{NELLY}> joined <#{LOUNGE}> · 1 there"),
        (left(duration_s=4330.5), f"{CLOCK} 🔴 <@{NELLY}> left <#{LOUNGE}> after 1 h 12 min · 3 there"),
        (left(occupants=0), f"{CLOCK} 🔴 <@{NELLY}> left <#{LOUNGE}> · nobody there"),
        (
            moved(duration_s=5.0),
            f"{CLOCK} 🔵 <@{NELLY}> moved from <#{LOUNGE}> to <#{STAGE}> after 5 s · 3 there",
        ),
        (updated(self_mute=True), f"{CLOCK} 🟡 <@{NELLY}> muted in <#{LOUNGE}>"),
        (gap(), "⚠️ Not watching <t:1795240800:T>-<t:1795244400:T> (relay restarted)"),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_every_kind_has_a_line(event: dict[str, Any], line: str, lines: Lines) -> None:
    assert lines(event) == [line]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "less than a second"),
        (0.999, "less than a second"),
        (1.0, "1 s"),
        (59.9, "59 s"),
        (60.0, "1 min"),
        (61.0, "1 min 1 s"),
        (3599.9, "59 min 59 s"),
        (3600.0, "1 h"),
        (3659.0, "1 h"),
        (4330.5, "1 h 12 min"),
        (86399.0, "23 h 59 min"),
        (86400.0, "1 d"),
        (266400.0, "3 d 2 h"),
    ],
)
def test_duration_has_two_units(seconds: float, words: str, lines: Lines) -> None:
    assert lines(left(duration_s=seconds))[0].split(" after ")[1] == f"{words} · 3 there"


def test_unknown_duration_is_left_out(lines: Lines) -> None:
    assert " after " not in lines(left(duration_s=None))[0]


@pytest.mark.parametrize(
    ("flag", "on", "off"),
    [
        ("self_mute", "muted", "unmuted"),
        ("self_deaf", "deafened", "undeafened"),
        ("mute", "was server-muted", "is no longer server-muted"),
        ("deaf", "was server-deafened", "is no longer server-deafened"),
        ("self_stream", "started streaming", "stopped streaming"),
        ("self_video", "turned the camera on", "turned the camera off"),
        ("suppress", "may no longer speak", "may speak now"),
    ],
)
def test_flag_has_words_for_both_values(flag: str, on: str, off: str, lines: Lines) -> None:
    said = [line.split("> ", 2)[2] for line in lines(updated(**{flag: True}), updated(**{flag: False}))]
    assert said == [f"{on} in <#{LOUNGE}>", f"{off} in <#{LOUNGE}>"]


def test_flags_share_a_line(lines: Lines) -> None:
    (line,) = lines(updated(self_mute=True, self_deaf=True, self_stream=False))
    assert "muted and deafened and stopped streaming in" in line


@pytest.mark.parametrize("event", [joined(inferred=True), left(inferred=True), moved(inferred=True)])
def test_inferred_says_so(event: dict[str, Any], lines: Lines) -> None:
    assert lines(event)[0].endswith(" (inferred afterwards)")


def test_seen_is_not_inferred(lines: Lines) -> None:
    assert "inferred" not in "".join(lines(joined(), left(), moved(), updated(), gap()))


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("restart", "relay restarted"),
        ("session_lost", "Discord session lost"),
        ("guild_unavailable", "server unavailable"),
        ("store_full", "relay could not store events"),
        ("handed_over", "server moved to another relay"),
    ],
)
def test_gap_gives_its_reason(reason: str, words: str, lines: Lines) -> None:
    assert lines(gap(reason=reason))[0].endswith(f" ({words})")


@pytest.mark.parametrize(
    ("since", "until", "period"),
    [
        ("2026-11-21T06:59:48.123Z", WHEN, " <t:1795244388:T>-<t:1795244400:T>"),
        ("2026-11-21T07:00:00.999Z", WHEN, " <t:1795244400:T>-<t:1795244400:T>"),
        ("2026-11-20T23:59:59.000Z", WHEN, " <t:1795219199:S>-<t:1795244400:S>"),
        ("2026-10-21T07:00:00.987Z", WHEN, " <t:1792566000:S>-<t:1795244400:S>"),
        (None, WHEN, " until <t:1795244400:T>"),
    ],
    ids=["short", "clock put back", "over midnight", "a month", "no beginning"],
)
def test_gap_names_its_times(since: str | None, until: str, period: str, lines: Lines) -> None:
    """Each once, with the date (style S) where the days differ."""
    assert lines(gap(since, until)) == [f"⚠️ Not watching{period} (relay restarted)"]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"from": WHEN}, "⚠️ Not watching since <t:1795244400:T>"),
        ({"from": WHEN, "until": "now"}, "⚠️ Not watching since <t:1795244400:T>"),
        ({"from": "<@1>", "until": WHEN}, "⚠️ Not watching until <t:1795244400:T>"),
        ({"from": None, "until": 7, "reason": "joined"}, "⚠️ Not watching"),
    ],
)
def test_gap_leaves_out_invalid_fields(data: Any, line: str, lines: Lines) -> None:
    assert lines({"type": "discord.voice.gap", "time": WHEN, "data": data}) == [line]


def test_events_keep_their_order(lines: Lines) -> None:
    shown = lines(left(), joined(), gap(), moved(), updated(mute=True))
    signs = [line.removeprefix(f"{CLOCK} ").split(" ")[0] for line in shown]
    assert signs == ["🔴", "🟢", "⚠️", "🔵", "🟡"]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"type": "discord.voice.sang", "time": WHEN, "data": {}}, f"{CLOCK} ❔ Something happened"),
        ({}, "❔ Something happened"),
        (None, "❔ Something happened"),
        ({"type": "discord.voice.joined", "time": WHEN}, f"{CLOCK} 🟢 somebody joined a voice channel"),
        (
            {"type": "discord.voice.left", "data": {"user": None, "previous_channel": None}},
            "🔴 somebody left",
        ),
        ({"type": "discord.voice.updated", "data": {}}, "🟡 somebody changed something in a voice channel"),
        ({"type": "discord.voice.gap", "data": {"reason": "who knows"}}, "⚠️ Not watching"),
        ({"type": "discord.voice.joined", "time": "soon", "data": {"occupants": "3"}}, "🟢 somebody joined"),
    ],
)
def test_unknown_event_gets_neutral_line(event: Any, line: str, lines: Lines) -> None:
    """A field that is missing, or an event type of a later version, must not fail the execution."""
    assert lines(event)[0].startswith(line)


COLOURS = {"joined": 0x57F287, "left": 0xED4245, "moved": 0x3498DB, "updated": 0xFEE75C, "gap": 0xE67E22}
MIXED = 0x99AAB5


@pytest.mark.parametrize(
    ("events", "colour"),
    [
        ([joined()], COLOURS["joined"]),
        ([joined(), joined()], COLOURS["joined"]),
        ([left()], COLOURS["left"]),
        ([moved()], COLOURS["moved"]),
        ([updated(mute=True)], COLOURS["updated"]),
        ([gap()], COLOURS["gap"]),
        ([gap(), left(inferred=True), joined()], COLOURS["gap"]),
        ([joined(), left()], MIXED),
        ([{"type": "discord.voice.sang"}], MIXED),
        ([{"type": "mixed"}], MIXED),
        ([{}], MIXED),
    ],
)
def test_colour_tells_the_kind(events: list[Any], colour: int, message: Message) -> None:
    """One kind has its own colour, several share one, and a gap is always seen."""
    assert message(events)["embeds"][0]["color"] == colour


def test_embeds_share_the_colour(message: Message) -> None:
    embeds = message([joined()] * 80 + [gap()])["embeds"]
    assert [embed["color"] for embed in embeds] == [COLOURS["gap"]] * 2


def test_empty_batch_makes_a_message(lines: Lines) -> None:
    assert lines() == ["Nothing happened"]


@pytest.mark.parametrize("event", [joined(), left(), moved(), updated()])
def test_audit_reads_each_line(event: dict[str, Any], message: Message) -> None:
    """A sign or a word that the audit does not know would fail the demo."""
    (fact,) = parse_message(message([event]))
    assert fact.kind == event["type"].removeprefix("discord.voice.")


def test_audit_reads_every_embed(message: Message) -> None:
    body = message([joined()] * 60 + [left()] * 10)
    assert len(body["embeds"]) == 2
    assert [fact.kind for fact in parse_message(body)] == ["joined"] * 60 + ["left"] * 10


@pytest.mark.parametrize("reason", get_args(GapReason))
def test_audit_reads_each_gap(reason: str, message: Message) -> None:
    assert list(parse_message(message([gap(reason=reason)]))) == [build_gap("", reason)]

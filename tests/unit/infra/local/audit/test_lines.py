"""What the lines in the channel say is read as it was meant."""

import pytest

from infra.local.audit import Fact, parse_message
from infra.local.audit.facts import build_gap


def read(line: str) -> Fact:
    (fact,) = parse_message({"embeds": [{"description": line}]})
    return fact


LINES = {
    "<t:100:T> 🟢 <@10> joined <#20> · 1 there": Fact("joined", "", "10", "20", None, ()),
    "<t:103:T> 🔵 <@10> moved from <#20> to <#21> after 3 s · 1 there": Fact(
        "moved", "", "10", "21", "20", ()
    ),
    "<t:102:T> 🟡 <@10> muted in <#20>": Fact("updated", "", "10", "20", None, ()),
    "<t:105:T> 🔴 <@11> left <#20> · nobody there": Fact("left", "", "11", None, "20", ()),
    "<t:105:T> 🔴 <@11> left <#20> · nobody there (inferred afterwards)": Fact(
        "left, inferred", "", "11", None, "20", ()
    ),
    "⚠️ Not watching <t:103:T>-<t:105:T> (server unavailable)": (build_gap("", "guild_unavailable")),
    "⚠️ Not watching until <t:107:T> (relay could not store events)": build_gap("", "store_full"),
    "⚠️ Not watching <t:106:S>-<t:107:S> (relay restarted)": build_gap("", "restart"),
}


@pytest.mark.parametrize("line", LINES)
def test_line_is_read(line: str) -> None:
    assert read(line) == LINES[line]


@pytest.mark.parametrize(
    "line",
    [
        "… and 1 more",
        "",
        "<t:100:T> ⚫ <@10> joined <#20>",
        "⚠️ Not watching <t:106:T>-<t:107:T> (who knows)",
    ],
)
def test_other_line_is_no_fact(line: str) -> None:
    assert read(line).kind == f"unreadable: {line}"


def test_reads_every_embed_line() -> None:
    one, two, three, *_ = LINES
    body = {"embeds": [{"description": f"{one}\n{two}"}, {"description": three}]}
    assert list(parse_message(body)) == [LINES[one], LINES[two], LINES[three]]


def test_message_without_embeds_says_nothing() -> None:
    assert list(parse_message({"content": "hello"})) == []

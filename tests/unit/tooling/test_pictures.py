"""The pictures in README.md are those of the demo's messages, and show all that a message has."""

import datetime as dt
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tooling.locks import ROOT
from tooling.message_drawing import DARK, LIGHT, WIDTH, Panel, Theme, UndrawnError, draw
from tooling.pictures import FOLDER, draw_all
from tooling.staged_messages import Admission, StagedMessage, stage_admission

AT = dt.datetime(2026, 11, 21, 20, 0, tzinfo=dt.UTC)
HOSTILE = '</text><script>alert("&amp;")</script>'
_SVG = "{http://www.w3.org/2000/svg}"
_COLOUR = re.compile(r"#[0-9a-f]{6}")


class Names:
    def user_name(self, user_id: str) -> str | None:
        return {"1": "Nelly", "2": HOSTILE, "3": "a\x00b\u202ec", "4": "W" * 100}.get(user_id)

    def channel_name(self, channel_id: str) -> str | None:
        return {"5": "Quiet room"}.get(channel_id)

    def role_name(self, role_id: str) -> str | None:
        return {"6": "Moderators"}.get(role_id)


def drawn(body: dict[str, Any], theme: Theme = LIGHT, caption: str = "now") -> ET.Element:
    panel = Panel(StagedMessage("staff", body, AT, AT + dt.timedelta(seconds=90)), caption)
    return ET.fromstring(draw([panel], theme, Names(), title="A picture"))  # noqa: S314  # our own


def texts(picture: ET.Element) -> list[str]:
    return [each.text or "" for each in picture.iter(f"{_SVG}text")]


def shown(body: dict[str, Any]) -> str:
    return " ".join(texts(drawn(body)))


@pytest.fixture(scope="module")
def admission() -> Admission:
    return stage_admission()


def test_committed_pictures_are_up_to_date() -> None:
    """If this fails, run ``make pictures``."""
    made = dict(draw_all())
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == made


def test_readme_shows_each_picture() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, _ in draw_all():
        assert f'"{(FOLDER / name).relative_to(ROOT).as_posix()}"' in readme
    pictures = re.findall(r"<img [^>]*>", readme)
    assert pictures
    assert all(re.search(r'alt="[^"]{40,}"', picture) for picture in pictures)


def test_stages_the_demo_admission(admission: Admission) -> None:
    """The card and the lines have the names of the demo's people and channels, and the demo's roles."""
    opened, closed = (
        [embed["description"] for embed in each.body["embeds"]] for each in (admission.open, admission.closed)
    )
    assert opened != closed
    assert [len(each.body["components"]) for each in (admission.open, admission.closed)] == [1, 0]
    picture = dict(draw_all())["admission-light.svg"]
    described = ET.fromstring(picture).findtext(f"{_SVG}desc") or ""  # noqa: S314  # our own
    for line in (
        "(notifies @Moderators)",
        "@Wisp is waiting in #Waiting room (joined 20 seconds ago)",
        "[ Admit ]  [ Decline ]",
        "✅ Admitted by @Moss after 25 s",
        "@Wisp moved from #Waiting room to #General",
        "(Discord session lost)",
        "@Pip left #Music · 1 there (inferred afterwards)",
    ):
        assert line in described
    assert "unknown" not in described


def test_draws_every_part() -> None:
    body = {
        "content": "Hello <@1>, **bold** __under__ ~~gone~~ `code` <@&6>",
        "embeds": [
            {
                "author": {"name": "Author"},
                "title": "Title",
                "description": f"<@1> in <#5> since <t:{int(AT.timestamp())}:R>\nnext",
                "fields": [{"name": "Name", "value": "Value <#5>", "inline": True}],
                "footer": {"text": "Footer"},
                "color": 0x123456,
            }
        ],
        "components": [{"type": 1, "components": [button("Yes", 3), button("No", 4, disabled=True)]}],
    }
    picture = drawn(body)
    words = " ".join(texts(picture))
    for each in ("@Nelly", "@Moderators", "code", "Author", "Title", "#Quiet room", "1 minute ago", "next"):
        assert each in words
    for each in ("Name", "Value", "Footer", "Yes", "No"):
        assert each in words
    attributes = {child.text: child.attrib for child in picture.iter(f"{_SVG}text")}
    assert attributes["bold"]["font-weight"] == "600"
    assert attributes["under"]["text-decoration"] == "underline"
    assert attributes["gone"]["text-decoration"] == "line-through"
    assert "monospace" in attributes["code"]["font-family"]
    assert (attributes["Yes"].get("opacity"), attributes["No"].get("opacity")) == (None, "0.5")
    assert "#123456" in {rect.get("fill") for rect in picture.iter(f"{_SVG}rect")}


def button(label: str, style: int, *, disabled: bool = False) -> dict[str, Any]:
    return {"type": 2, "label": label, "style": style, "custom_id": "signal:x:y", "disabled": disabled}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"content": "x", "attachments": [{"id": "1"}]}, "attachments of a message"),
        ({"embeds": [{"title": "x", "image": {"url": "https://example.com"}}]}, "image of an embed"),
        ({"components": [{"type": 17, "components": []}]}, "type 17"),
        ({"components": [{"type": 1, "components": [{"type": 3}]}]}, "type 3, style None"),
        ({"components": [{"type": 1, "components": [button("Link", 5)]}]}, "type 2, style 5"),
    ],
)
def test_leaves_nothing_out(body: dict[str, Any], named: str) -> None:
    with pytest.raises(UndrawnError, match=named):
        drawn(body)


@pytest.mark.parametrize(
    "body",
    [
        {"content": "<@2>"},
        {"content": HOSTILE},
        {"embeds": [{"description": "<@2>"}]},
        {"embeds": [{"author": {"name": HOSTILE}}]},
        {"embeds": [{"title": HOSTILE}]},
        {"embeds": [{"fields": [{"name": HOSTILE, "value": "x"}]}]},
        {"embeds": [{"fields": [{"name": "x", "value": HOSTILE}]}]},
        {"embeds": [{"footer": {"text": HOSTILE}}]},
        {"components": [{"type": 1, "components": [button(HOSTILE, 1)]}]},
    ],
)
def test_escapes_text(body: dict[str, Any]) -> None:
    picture = drawn(body, caption=HOSTILE)
    assert {child.tag.removeprefix(_SVG) for child in picture.iter()} <= {
        "svg", "title", "desc", "rect", "circle", "text",
    }  # fmt: skip
    assert HOSTILE in (picture.findtext(f"{_SVG}desc") or "").replace("@", "")
    assert "<script>" in "".join(texts(picture))


def test_shows_control_characters() -> None:
    """XML forbids the first, and the second would turn the rest of the line around."""
    assert "@a\ufffdb\ufffdc" in shown({"content": "<@3>"})


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_stands_out(theme: Theme) -> None:
    """The contrasts are those that WCAG 2 asks for in running text."""
    for text, page in [
        (theme.text, theme.page),
        (theme.text, theme.embed),
        (theme.text, theme.behind_time),
        (theme.muted, theme.page),
        (theme.mention, theme.behind_mention),
    ]:
        assert contrast(text, page) >= 4.5


def contrast(one: str, other: str) -> float:
    # https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
    dark, light = sorted(luminance(colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    assert _COLOUR.fullmatch(colour)
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


LONG = {
    "content": "word " * 60 + "<@4>" + " <@1>,<#5>`code`**bold**" * 5,
    "embeds": [{"description": "<@4> " + "x" * 300 + " **y** " * 50 + "👩" * 60}],
    "components": [{"type": 1, "components": [button("A rather long label", 2) for _ in range(5)]}],
}


def boxes(picture: ET.Element) -> Iterator[tuple[float, float, float]]:
    """Yield where each text begins and ends, and its base line."""
    for each in picture.iter(f"{_SVG}text"):
        x, width = float(each.attrib["x"]), float(each.get("textLength", 0))
        yield x, x + width, float(each.attrib["y"])


def test_everything_fits() -> None:
    picture = drawn(LONG)
    height = float(picture.attrib["height"])
    assert all(0 <= left <= right <= WIDTH - 10 and 0 < y < height for left, right, y in boxes(picture))
    for rect in picture.iter(f"{_SVG}rect"):
        x, y, width, tall = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x + width <= WIDTH
        assert y + tall <= height


@given(st.text() | st.text("<@1234>#&*_~`\\:tR \n👩\u200d"))
def test_draws_any_text(text: str) -> None:
    picture = drawn({"content": text, "embeds": [{"title": text, "description": text}]})
    assert all(right <= WIDTH - 10 for _, right, _ in boxes(picture))


def test_texts_do_not_overlap() -> None:
    rows: dict[float, list[tuple[float, float]]] = {}
    for left, right, y in boxes(drawn(LONG)):
        rows.setdefault(y, []).append((left, right))
    assert all(one[1] <= other[0] + 0.1 for row in rows.values() for one, other in pairwise(sorted(row)))
    assert all(lower - upper >= 18 for upper, lower in pairwise(sorted(rows)))


def test_wrapping_keeps_every_word() -> None:
    text = "A comma, a (bracket <t:0:R>) and <@1>, then\nthe next line " + "of-one-word" * 20 + " end."
    assert "".join(texts(drawn({"content": text}))[5:]).replace(" ", "") == (
        "Acomma,a(bracket56yearsago)and@Nelly,thenthenextline" + "of-one-word" * 20 + "end."
    )


def test_reads_nothing_from_elsewhere() -> None:
    for _, picture in draw_all():
        assert re.findall(r"https?://[^\"<]*", picture) == ["http://www.w3.org/2000/svg"]
        assert not re.search(r"href|url\(|<style|<script|<image|@import", picture)

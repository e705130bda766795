"""Draws messages as SVG, in a chat's look, for a light and a dark page.

It draws what the relay's messages are made of: content, embeds (author, title, description, fields, footer)
and rows of buttons, with mentions, time stamps and the Markdown that the stand-in knows. Another part raises
UndrawnError, so that no picture leaves something out. No fonts, images or scripts are loaded.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from itertools import groupby
from typing import Any, Final, NamedTuple

from infra.local.discord import Names, Span, parse_spans, render_message
from tooling import svg
from tooling.staged_messages import StagedMessage
from tooling.text_width import is_pictograph, measure, measure_span, wrap

WIDTH: Final = 480

_SIZE: Final = 14
_LINE: Final = 20
_SMALL: Final = 12
_MARGIN: Final = 14
_TEXT_X: Final = 62
_AVATAR: Final = 18
_PAD: Final = 12
_BAR: Final = 4
_BUTTON: Final = 32
_GAP: Final = 8
_DISABLED: Final = 0.5
_SENDER: Final = "Voice Relay"
_CODE_FONT: Final = "ui-monospace, Consolas, 'DejaVu Sans Mono', monospace"
_WHITE: Final = "#ffffff"
_BLUE: Final = "#5865f2"
_BOLD: Final = frozenset({"**"})
_DECORATIONS: Final = {"__": "underline", "~~": "line-through"}

# https://docs.discord.com/developers/components/reference
_ROW: Final = 1
_BUTTONS: Final = 2
_STYLES: Final = {1: _BLUE, 2: "#6d6f78", 3: "#248046", 4: "#d22d39"}

_PARTS: Final = frozenset({"content", "embeds", "components"})
# What readers do not see.
_UNSEEN: Final = frozenset({"allowed_mentions", "nonce", "enforce_nonce"})
_EMBED_PARTS: Final = frozenset({"author", "title", "description", "fields", "footer", "color"})


class UndrawnError(ValueError):
    """A message has a part that no picture shows yet."""


class Theme(NamedTuple):
    """The colours of a page; the last two are behind mentions, and behind times and code."""

    page: str
    edge: str
    text: str
    muted: str
    embed: str
    mention: str
    behind_mention: str
    behind_time: str


LIGHT: Final = Theme(_WHITE, "#d4d7dc", "#2e3035", "#5c5e66", "#f2f3f5", "#3a45b0", "#e0e4fd", "#e3e5e8")
DARK: Final = Theme("#313338", "#1e1f22", "#dbdee1", "#a3a6ae", "#2b2d31", "#ced2ff", "#3f4476", "#404249")


class Panel(NamedTuple):
    """A channel with one message in it; *caption* says when this is."""

    message: StagedMessage
    caption: str


def draw(panels: Collection[Panel], theme: Theme, names: Names, *, title: str) -> str:
    """Return the picture of *panels*, one below the other; raises UndrawnError."""
    drawing = _Drawing(theme, names)
    for panel in panels:
        drawing.panel(panel)
    height = round(drawing.y)
    page = svg.rect(0.5, 0.5, WIDTH - 1, height - 1, theme.page, radius=8, edge=theme.edge)
    description = "\n\n".join(_describe(panel, names) for panel in panels)
    return svg.document([page, *drawing.parts], WIDTH, height, title=title, description=description)


def _describe(panel: Panel, names: Names) -> str:
    message = panel.message
    return f"#{message.channel}, {panel.caption}:\n" + render_message(message.body, names, UTC, message.read)


@dataclass
class _Drawing:
    """Draws downwards from ``y``; *parts* are the elements so far."""

    theme: Theme
    names: Names
    y: float = 0.0
    parts: list[str] = field(default_factory=list)

    def panel(self, panel: Panel) -> None:
        message = panel.message
        _check(message.body, _PARTS | _UNSEEN, "a message")
        self._header(message.channel, panel.caption)
        self._sender(message)
        if content := message.body.get("content"):
            self._paragraph(self._spans(content, message), _TEXT_X, WIDTH - _MARGIN - _TEXT_X)
            self.y += _GAP / 2
        for embed in message.body.get("embeds") or ():
            self._embed(embed, message)
        for row in message.body.get("components") or ():
            self._buttons(row)
        self.y += _PAD

    def _header(self, channel: str, caption: str) -> None:
        if self.y:
            self.parts.append(svg.rect(1, self.y, WIDTH - 2, 1, self.theme.edge))
        self.y += 22
        x = self._label(f"# {channel}", _MARGIN, self.theme.text, bold=True)
        self._label(caption, x + _PAD, self.theme.muted, size=_SMALL)
        self.y += 10

    def _sender(self, message: StagedMessage) -> None:
        self._avatar(_MARGIN + _AVATAR, self.y + _AVATAR + 2)
        self.y += 16
        x = self._label(_SENDER, _TEXT_X, self.theme.text, bold=True) + 6
        self.parts.append(svg.rect(x, self.y - 12, 32, 15, _BLUE, radius=4))
        self._label("APP", x + 5, _WHITE, size=10, bold=True)
        at = f"{message.sent:%H:%M}" + (" · edited" if message.edited else "")
        self._label(at, x + 40, self.theme.muted, size=_SMALL)
        self.y += 4

    def _avatar(self, x: float, y: float) -> None:
        """Draw a voice: five bars of different heights."""
        self.parts.append(svg.circle(x, y, _AVATAR, "#2f7d6b"))
        for number, half in enumerate((3, 7, 10, 6, 3)):
            self.parts.append(svg.rect(x - 11.2 + 5 * number, y - half, 2.5, 2 * half, _WHITE, radius=1.2))

    def _embed(self, embed: Mapping[str, Any], message: StagedMessage) -> None:
        _check(embed, _EMBED_PARTS, "an embed")
        top, place, width = self.y + _GAP / 2, len(self.parts), WIDTH - _MARGIN - _TEXT_X
        self.y = top + _GAP
        for spans in self._embed_texts(embed, message):
            self._paragraph(spans, _TEXT_X + _BAR + _PAD, width - _BAR - 2 * _PAD)
        self.y += _PAD
        height = self.y - top
        colour = f"#{embed['color']:06x}" if "color" in embed else self.theme.edge
        self.parts[place:place] = [
            svg.rect(_TEXT_X, top, width, height, self.theme.embed, radius=4),
            svg.rect(_TEXT_X, top, _BAR, height, colour, radius=2),
        ]

    def _embed_texts(self, embed: Mapping[str, Any], message: StagedMessage) -> Iterator[list[Span]]:
        """Yield the paragraphs from top to bottom; author, title, fields' names and footer are plain text."""
        if "author" in embed:
            yield [Span(embed["author"]["name"], marks=_BOLD)]
        if "title" in embed:
            yield [Span(embed["title"], marks=_BOLD)]
        if "description" in embed:
            yield self._spans(embed["description"], message)
        for entry in embed.get("fields") or ():
            yield [Span(entry["name"], marks=_BOLD)]
            yield self._spans(entry["value"], message)
        if "footer" in embed:
            yield [Span(embed["footer"]["text"])]

    def _buttons(self, row: Mapping[str, Any]) -> None:
        if row["type"] != _ROW:
            raise UndrawnError(f"no picture shows a component of type {row['type']}")
        self.y += _GAP
        x: float = _TEXT_X
        for button in row["components"]:
            if button["type"] != _BUTTONS or button["style"] not in _STYLES:
                raise UndrawnError(
                    f"no picture shows a row's type {button['type']}, style {button.get('style')}"
                )
            width = measure(button["label"], _SIZE, bold=True) + 32
            if x > _TEXT_X and x + width > WIDTH - _MARGIN:
                x, self.y = _TEXT_X, self.y + _BUTTON + _GAP
            opacity = _DISABLED if button.get("disabled") else 1
            colour = _STYLES[button["style"]]
            self.parts.append(svg.rect(x, self.y, width, _BUTTON, colour, radius=6, opacity=opacity))
            self.y += 21
            self._label(button["label"], x + 16, _WHITE, bold=True, opacity=opacity)
            self.y -= 21
            x += width + _GAP
        self.y += _BUTTON

    def _spans(self, text: str, message: StagedMessage) -> list[Span]:
        return list(parse_spans(text, self.names, UTC, message.read))

    def _paragraph(self, spans: list[Span], x: float, room: float) -> None:
        for line in wrap(spans, room, _SIZE):
            self.y += _LINE
            at = x
            for span in _join(line):
                self._span(span, at)
                at += measure_span(span, _SIZE)

    def _span(self, span: Span, x: float) -> None:
        ink = span._replace(text=span.text.rstrip(" "))
        if not ink.text:
            return
        width = measure_span(ink, _SIZE)
        behind = {"mention": self.theme.behind_mention, "text": None}.get(span.kind, self.theme.behind_time)
        if behind is not None:
            self.parts.append(svg.rect(x - 1.5, self.y - 14, width + 3, 18, behind, radius=3))
        self.parts.append(
            svg.text(
                ink.text,
                x,
                self.y,
                self.theme.mention if span.kind == "mention" else self.theme.text,
                size=_SIZE,
                bold=span.marks >= _BOLD,
                # Emoji have no fixed proportion to letters, and look bad out of theirs.
                width=None if is_pictograph(ink.text[0]) else width,
                decoration=" ".join(_DECORATIONS[mark] for mark in sorted(span.marks - _BOLD)),
                font=_CODE_FONT if span.kind == "code" else None,
            )
        )

    def _label(
        self, text: str, x: float, colour: str, *, size: int = _SIZE, bold: bool = False, opacity: float = 1
    ) -> float:
        """Write *text* in one line, and return where it ends."""
        width = measure(text, size, bold=bold)
        self.parts.append(
            svg.text(text, x, self.y, colour, size=size, bold=bold, width=width, opacity=opacity)
        )
        return x + width


def _check(part: Mapping[str, Any], known: Collection[str], what: str) -> None:
    if unknown := sorted(key for key, value in part.items() if value and key not in known):
        raise UndrawnError(f"no picture shows {', '.join(unknown)} of {what}: draw it in {__name__}")


def _join(line: list[Span]) -> Iterator[Span]:
    """Join what looks alike, and keep emoji apart."""
    pieces = (
        span._replace(text="".join(chars))
        for span in line
        for _, chars in groupby(span.text, key=is_pictograph)
    )
    for (kind, marks, _), alike in groupby(
        pieces, key=lambda one: (one.kind, one.marks, is_pictograph(one.text[0]))
    ):
        yield Span("".join(one.text for one in alike), kind, marks)

"""The few SVG elements that the pictures are made of. Every text is escaped here."""

import unicodedata
from typing import Final
from xml.sax.saxutils import escape

_FONT: Final = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', Helvetica, Arial, "
    "'Apple Color Emoji', 'Segoe UI Emoji', 'Noto Color Emoji', sans-serif"
)
_DIRECTIONS: Final = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def document(parts: list[str], width: int, height: int, *, title: str, description: str) -> str:
    """Return the file; *title* and *description* are for those who do not see it."""
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="title desc" '
                f'font-family="{_FONT}">'
            ),
            f'<title id="title">{escape(show_controls(title))}</title>',
            f'<desc id="desc">{escape(show_controls(description))}</desc>',
            *parts,
            "</svg>\n",
        ]
    )


def rect(
    x: float,
    y: float,
    width: float,
    height: float,
    colour: str,
    *,
    radius: float = 0,
    edge: str | None = None,
    opacity: float = 1,
) -> str:
    numbers = {"x": x, "y": y, "width": width, "height": height, "rx": radius or None}
    return f"<rect{_attributes(**numbers, fill=colour, stroke=edge, opacity=_unless(1, opacity))}/>"


def circle(x: float, y: float, radius: float, colour: str) -> str:
    return f"<circle{_attributes(cx=x, cy=y, r=radius, fill=colour)}/>"


def text(
    shown: str,
    x: float,
    y: float,
    colour: str,
    *,
    size: int,
    bold: bool = False,
    width: float | None = None,
    decoration: str | None = None,
    font: str | None = None,
    opacity: float = 1,
) -> str:
    """Return one line of text, stretched or squeezed to *width* if one is given."""
    attributes = _attributes(
        x=x,
        y=y,
        fill=colour,
        font_size=size,
        font_weight=600 if bold else None,
        font_family=font,
        text_decoration=decoration or None,
        textLength=width,
        lengthAdjust=None if width is None else "spacingAndGlyphs",
        opacity=_unless(1, opacity),
    )
    return f'<text{attributes} xml:space="preserve">{escape(show_controls(shown))}</text>'


def show_controls(shown: str) -> str:
    """Make visible what XML does not allow, and what would change the direction of the text around it."""
    return "".join("\ufffd" if _is_control(char) else char for char in shown)


def _is_control(char: str) -> bool:
    if char == "\n":
        return False
    forbidden = unicodedata.category(char) in ("Cc", "Cs") or char in "\ufffe\uffff"
    return forbidden or unicodedata.bidirectional(char) in _DIRECTIONS


def _unless(usual: float, value: float) -> float | None:
    return None if value == usual else value


def _attributes(**values: float | str | None) -> str:
    """Spell out the attributes that have a value; the values are this package's own, so none is escaped."""
    return "".join(
        f' {name.replace("_", "-")}="{value if isinstance(value, str) else _number(value)}"'
        for name, value in values.items()
        if value is not None
    )


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")

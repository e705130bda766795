"""Renders a message as plain text, as a person would read it; a drawing takes its texts as spans."""

# https://docs.discord.com/developers/reference#message-formatting

import datetime as dt
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, Literal, NamedTuple, Protocol

Json = dict[str, Any]


class Names(Protocol):
    """Looks up display names by id; ``World`` is one."""

    def user_name(self, user_id: str) -> str | None: ...

    def channel_name(self, channel_id: str) -> str | None: ...

    def role_name(self, role_id: str) -> str | None: ...


class Span(NamedTuple):
    """A piece of a text as shown; ``marks`` are those around it: ``**``, ``__``, ``~~``."""

    text: str
    kind: Literal["text", "mention", "time", "code"] = "text"
    marks: frozenset[str] = frozenset()


# One expression and one pass, so that a name that looks like markup is never parsed as markup.
_MARKUP = re.compile(
    r"\\(?P<escaped>[^A-Za-z0-9\s])"
    r"|<@!?(?P<user>\d+)>|<#(?P<channel>\d+)>|<@&(?P<role>\d+)>"
    r"|<t:(?P<time>-?\d+)(?::(?P<style>[tTdDfFsSR]))?>"
    r"|`(?P<code>[^`\n]+)`"
    r"|(?P<marks>\*\*|__|~~)(?=\S)(?P<inner>.+?)(?<=\S)(?P=marks)"
)
_ID = re.compile(r"<@!?(\d+)>")
_ROLE_ID = re.compile(r"<@&(\d+)>")

# https://docs.discord.com/developers/reference#message-formatting-timestamp-styles
_STYLES: dict[str, str] = {
    "t": "%H:%M",
    "T": "%H:%M:%S",
    "d": "%d/%m/%Y",
    "D": "%d %B %Y",
    "f": "%d %B %Y %H:%M",
    "F": "%A, %d %B %Y %H:%M",
    "s": "%d/%m/%Y, %H:%M",
    "S": "%d/%m/%Y, %H:%M:%S",
}
_UNITS = (
    ("year", 31_536_000),
    ("month", 2_592_000),
    ("day", 86_400),
    ("hour", 3600),
    ("minute", 60),
    ("second", 1),
)


def render_message(
    message: Json, world: Names, tz: dt.tzinfo = dt.UTC, now: dt.datetime | None = None
) -> str:
    """Return the text of *message* (the body of a post) as a reader in time zone *tz* sees it at *now*.

    Lines of an embed begin with a bar; buttons are in brackets, in parentheses where disabled. A last line
    lists who is notified: mentions in embeds are shown but notify nobody.
    """
    now = now or dt.datetime.now(dt.UTC)

    def read(text: str) -> str:
        return _render_text(text, world, tz, now)

    lines = [read(message["content"])] if message.get("content") else []
    for embed in message.get("embeds") or ():
        lines += [f"▌ {line}" for part in _list_parts(embed, read) for line in part.split("\n")]
    for row in message.get("components") or ():
        lines.append("  ".join(_render_button(button) for button in row["components"]))
    pinged = parse_pings(message)
    if pinged:
        lines.append("(notifies " + ", ".join(_name_pinged(target, world) for target in pinged) + ")")
    return "\n".join(lines)


def parse_pings(message: Json, default: Collection[str] = ("users",)) -> list[str]:
    """Return who is notified: user ids, ``&`` and a role id, or ``@everyone`` and ``@here``.

    Only mentions in the content count, never in embeds, and only if ``allowed_mentions`` allows them;
    without it, a webhook's message notifies users only (*default*), and a bot's everyone whom it mentions.
    """
    content = re.sub(r"`[^`]*`", "", message.get("content") or "")
    allowed = message.get("allowed_mentions")
    if allowed is None:
        allowed = {"parse": default}
    parse = allowed.get("parse") or ()
    users, roles = allowed.get("users") or (), allowed.get("roles") or ()
    found = [user for user in _ID.findall(content) if "users" in parse or user in users]
    found += [f"&{role}" for role in _ROLE_ID.findall(content) if "roles" in parse or role in roles]
    if "everyone" in parse:
        found += re.findall(r"@everyone|@here", content)
    return list(dict.fromkeys(found))


def _render_button(button: Json) -> str:
    label = button.get("label") or (button.get("emoji") or {}).get("name")
    return f"( {label} )" if button.get("disabled") else f"[ {label} ]"


def _name_pinged(target: str, world: Names) -> str:
    if target.startswith("@"):
        return target
    name = world.role_name(target[1:]) if target.startswith("&") else world.user_name(target)
    return f"@{name or 'unknown'}"


def _list_parts(embed: Json, read: Callable[[str], str]) -> list[str]:
    """List the embed's texts from top to bottom; Discord renders no mentions in title, author or footer."""
    author, footer = embed.get("author") or {}, embed.get("footer") or {}
    parts = [author.get("name"), embed.get("title")]
    parts.append(read(embed["description"]) if embed.get("description") else None)
    parts += [f"{entry['name']}: {read(entry['value'])}" for entry in embed.get("fields") or ()]
    parts.append(footer.get("text"))
    return [part for part in parts if part]


def _render_text(text: str, world: Names, tz: dt.tzinfo, now: dt.datetime) -> str:
    return "".join(span.text for span in parse_spans(text, world, tz, now))


def parse_spans(
    text: str, world: Names, tz: dt.tzinfo, now: dt.datetime, marks: frozenset[str] = frozenset()
) -> Iterator[Span]:
    """Yield what a reader in time zone *tz* sees of *text* at *now*; *marks* are already around it."""
    end = 0
    for match in _MARKUP.finditer(text):
        if before := text[end : match.start()]:
            yield Span(before, marks=marks)
        end = match.end()
        if match["inner"] is not None:
            yield from parse_spans(match["inner"], world, tz, now, marks | {match["marks"]})
        else:
            yield _read_span(match, world, tz, now)._replace(marks=marks)
    if end < len(text):
        yield Span(text[end:], marks=marks)


def _read_span(match: re.Match[str], world: Names, tz: dt.tzinfo, now: dt.datetime) -> Span:
    group = match.groupdict()
    if group["user"] is not None:
        return Span(f"@{world.user_name(group['user']) or 'unknown-user'}", "mention")
    if group["channel"] is not None:
        return Span(f"#{world.channel_name(group['channel']) or 'unknown'}", "mention")
    if group["role"] is not None:
        return Span(f"@{world.role_name(group['role']) or 'unknown-role'}", "mention")
    if group["time"] is not None:
        shown = _render_time(int(group["time"]), group["style"] or "f", tz, now)
        return Span(match.group()) if shown is None else Span(shown, "time")
    if group["code"] is not None:
        return Span(group["code"], "code")
    return Span(group["escaped"])


def _render_time(unix_s: int, style: str, tz: dt.tzinfo, now: dt.datetime) -> str | None:
    try:
        moment = dt.datetime.fromtimestamp(unix_s, tz)
    except (OverflowError, ValueError, OSError):
        return None
    return _render_relative(moment, now) if style == "R" else moment.strftime(_STYLES[style])


def _render_relative(moment: dt.datetime, now: dt.datetime) -> str:
    seconds = round((moment - now).total_seconds())
    if not seconds:
        return "now"
    unit, size = next((unit, size) for unit, size in _UNITS if abs(seconds) >= size)
    count = abs(seconds) // size
    spelled = f"{count} {unit}{'s' if count > 1 else ''}"
    return f"in {spelled}" if seconds > 0 else f"{spelled} ago"

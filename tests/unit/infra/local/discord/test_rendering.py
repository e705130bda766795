import datetime as dt
from typing import Any

import pytest

from infra.local.discord import parse_pings, render_message

NOW = dt.datetime(2026, 11, 21, 7, 30, tzinfo=dt.UTC)
AT = int(dt.datetime(2026, 11, 21, 7, 5, 9, tzinfo=dt.UTC).timestamp())


class Names:
    """A world with few names, one of which looks like markup."""

    def user_name(self, user_id: str) -> str | None:
        return {"1": "Nelly", "2": "**<@1>** @everyone"}.get(user_id)

    def channel_name(self, channel_id: str) -> str | None:
        return {"3": "General"}.get(channel_id)

    def role_name(self, role_id: str) -> str | None:
        return {"4": "Mods"}.get(role_id)


def render(text: str, tz: dt.tzinfo = dt.UTC) -> str:
    return render_message({"embeds": [{"description": text}]}, Names(), tz, NOW)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<@1> joined <#3>", "@Nelly joined #General"),
        ("<@!1> <@&4>", "@Nelly @Mods"),
        ("<@9> <#9> <@&9>", "@unknown-user #unknown @unknown-role"),
        ("<@2>", "@**<@1>** @everyone"),
        (r"\<@1> \*x\* \\", r"<@1> *x* \\"[:-1]),
        ("**<@1>** and __x__ and ~~y~~", "@Nelly and x and y"),
        ("`<@1>`", "<@1>"),
        (f"<t:{AT}:T>", "07:05:09"),
        (f"<t:{AT}:t>", "07:05"),
        (f"<t:{AT}:d>", "21/11/2026"),
        (f"<t:{AT}:D>", "21 November 2026"),
        (f"<t:{AT}>", "21 November 2026 07:05"),
        (f"<t:{AT}:F>", "Saturday, 21 November 2026 07:05"),
        (f"<t:{AT}:S>", "21/11/2026, 07:05:09"),
        (f"<t:{AT}:R>", "24 minutes ago"),
        (f"<t:{AT + 7200}:R>", "in 1 hour"),
        (f"<t:{AT}:x>", f"<t:{AT}:x>"),
        ("<t:99999999999999999>", "<t:99999999999999999>"),
    ],
)
def test_renders_markup(text: str, shown: str) -> None:
    assert render(text) == f"▌ {shown}"


def test_renders_times_in_readers_zone() -> None:
    assert render(f"<t:{AT}:T>", dt.timezone(dt.timedelta(hours=2))) == "▌ 09:05:09"


def test_renders_embed_top_to_bottom() -> None:
    message = {
        "content": "Hello <@1>",
        "embeds": [
            {
                "footer": {"text": "the end"},
                "title": "Voice",
                "author": {"name": "Relay"},
                "description": "one\ntwo",
                "fields": [{"name": "Where", "value": "<#3>"}],
            }
        ],
        "allowed_mentions": {"parse": []},
    }
    assert render_message(message, Names(), now=NOW).split("\n") == [
        "Hello @Nelly",
        "▌ Relay",
        "▌ Voice",
        "▌ one",
        "▌ two",
        "▌ Where: #General",
        "▌ the end",
    ]


@pytest.mark.parametrize(
    ("allowed", "pinged"),
    [
        (None, ["1"]),
        ({"parse": []}, []),
        ({}, []),
        ({"users": ["1"]}, ["1"]),
        ({"users": ["7"]}, []),
        ({"parse": ["everyone"]}, ["@everyone"]),
        ({"parse": ["users", "roles"]}, ["1", "&4"]),
        ({"roles": ["4"]}, ["&4"]),
    ],
)
def test_allowed_mentions_limit_pings(allowed: Any, pinged: list[str]) -> None:
    message = {"content": "<@1> <@&4> @everyone `<@2>`", "allowed_mentions": allowed}
    assert parse_pings(message) == pinged


def test_embed_mentions_ping_nobody() -> None:
    assert parse_pings({"embeds": [{"description": "<@1> @everyone"}]}) == []


def test_lists_who_is_notified() -> None:
    assert render_message({"content": "<@1>"}, Names()) == "@Nelly\n(notifies @Nelly)"


def test_buttons_stand_below_the_text() -> None:
    """One line for each row; a disabled button is in parentheses, and one without a label shows its emoji."""
    first = [{"label": "Admit"}, {"label": "Decline", "disabled": True}]
    rows = [{"components": first}, {"components": [{"emoji": {"name": "☕"}}]}]
    message = {"content": "Nelly waits", "components": rows}
    assert render_message(message, Names()) == "Nelly waits\n[ Admit ]  ( Decline )\n[ ☕ ]"

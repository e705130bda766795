"""An interaction, whatever is in it, and whatever answers in Discord's place: one press, or none."""

import asyncio
import re
from typing import Any, Final
from unittest.mock import patch

import hypothesis.strategies as st
from hypothesis import given, settings

from bot.api.signals import Answer, Decider, Outcome
from bot.gateway.interaction_rest import InteractionRest
from bot.gateway.interactions import Interactions
from bot.gateway.press import NotAPress, describe, parse_press
from bot.gateway.rest import RestError
from tests.support.presses import Waiting, build_press

SHORT_S: Final = 0.2
_TEXTS: Final = st.text(max_size=20) | st.sampled_from(
    [
        "5",
        "signal:admit:x",
        "signal:admit:x\n",
        "signal::",
        "../..",
        "a" * 1001,
        "9" * 25,
        "@everyone",
        "\ud800",
    ]
)
_LEAVES: Final = st.none() | st.booleans() | st.integers(-5, 1 << 70) | st.floats() | _TEXTS
_KEYS: Final = st.sampled_from(["id", "user", "roles", "permissions", "custom_id", "component_type", "type"])
_VALUES: Final = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=5)
)
_CHANGES: Final = st.dictionaries(
    st.sampled_from(
        [
            *("type", "id", "application_id", "token", "data", "member", "user"),
            *("guild_id", "channel_id", "message"),
        ]
    ),
    _VALUES,
    max_size=3,
)
_DATA: Final = st.fixed_dictionaries({"component_type": st.just(2), "custom_id": _TEXTS})
_PATH: Final = re.compile(r"[\w.=-]+")


@given(_CHANGES, st.none() | _DATA, st.sampled_from(Outcome), st.none() | _TEXTS, st.none() | st.integers())
def test_interaction_is_a_press_or_none(
    changes: dict[str, Any], data: dict[str, Any] | None, outcome: Outcome, who: str | None, at_ms: int | None
) -> None:
    payload = build_press(**({} if data is None else {"data": data})) | changes
    try:
        press = parse_press(payload)
    except NotAPress:
        return
    assert all(_PATH.fullmatch(part) for part in (press.id, press.token, press.application_id))
    assert f"{press.signal}{press.execution}".isascii()
    sender = press.sender
    assert all(each.isdecimal() for each in [sender.id or "", *sender.roles, sender.permissions or "0"])
    sentence = describe(Answer(outcome, "admit", Decider("user", who), at_ms), press)
    assert "@everyone" not in sentence
    assert len(sentence) < 100


@given(_VALUES)
def test_frame_path_never_raises(payload: Any) -> None:
    async def take() -> None:
        interactions = Interactions(
            InteractionRest("http://127.0.0.1:9"), Waiting().send, asyncio.create_task
        )
        interactions.take(payload if isinstance(payload, dict) else {"data": payload})
        assert interactions.presses == 0

    asyncio.run(take())


@given(st.binary(max_size=200), st.sampled_from([200, 204, 302, 400, 401, 404]))
@settings(max_examples=max(25, settings().max_examples // 4))
def test_answers_of_discord_are_read(body: bytes, status: int) -> None:
    """What answers may be a proxy or a portal; an error is a sentence without the token."""

    async def ask() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 %d Fine\r\nConnection: close\r\n\r\n%b" % (status, body))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            press = parse_press(build_press())
            async with InteractionRest(f"http://127.0.0.1:{port}/api/v10") as rest:
                assert await rest.defer(press) is not None
                said: list[str] = []
                try:
                    await rest.answer(press, "x")
                except RestError as error:
                    said.append(str(error))
                assert said or 200 <= status < 300
                assert press.token not in "".join(said)

    with patch.multiple("bot.gateway.interaction_rest", DEFER_S=SHORT_S, ANSWER_S=SHORT_S):
        asyncio.run(ask())

"""Known secrets are masked in encodings of encodings, in wrapped ones, and in parts."""

import base64
import json
import string
import time
import urllib.parse
from collections.abc import Callable

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given

from bot.telemetry.redaction import Redactor
from tests.support.secret_samples import BOT_TOKEN, SECRET_KEY, SESSION_TOKEN, SIGNATURE, WEBHOOK

Encode = Callable[[str], str]
SAMPLES = [BOT_TOKEN, SECRET_KEY, SESSION_TOKEN, SIGNATURE, "quotes \" and ' and / and ünïcödé"]
SECRETS = st.sampled_from(SAMPLES) | st.text(
    st.sampled_from(string.ascii_letters + string.digits + "+/=_-.\"'ü"), min_size=24, max_size=150
)


def quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def wrap(text: str) -> str:
    return base64.encodebytes(text.encode()).decode().strip()


def wrap_indented(text: str) -> str:
    return wrap(text).replace("\n", "\r\n    ")


FIRST: list[tuple[Encode, ...]] = [
    (),
    (quote,),
    (quote, quote),
    (quote, quote, quote),
    (lambda text: text.encode().hex(),),
    (lambda text: text.encode().hex().upper(),),
    (wrap,),
    (wrap_indented,),
]
CUT = [FIRST[0], FIRST[1], FIRST[4], FIRST[5]]
THEN: list[Encode] = [json.dumps, repr, ascii, lambda text: json.dumps(text).replace("/", "\\/")]


def encode(secret: str, steps: tuple[Encode, ...]) -> str:
    for step in steps:
        secret = step(secret)
    return secret


def leaks(spelled: str, shown: str, chars: int = 12) -> list[str]:
    """Return the pieces of *spelled* that *shown* has."""
    pieces = {spelled[at : at + chars] for at in range(max(1, len(spelled) - chars + 1))}
    return [piece for piece in pieces if piece in shown]


@given(secret=SECRETS, first=st.sampled_from(FIRST), then=st.lists(st.sampled_from(THEN), max_size=3))
def test_masks_encodings_of_encodings(secret: str, first: tuple[Encode, ...], then: list[Encode]) -> None:
    spelled = encode(secret, (*first, *then))
    redactor = Redactor([secret])
    assert not leaks(spelled.strip("\"'\\"), redactor.scrub(f"before {spelled} after"))
    assert not redactor.passes(orjson.dumps({"event": f"before {spelled} after"}).decode())


@given(secret=st.sampled_from(SAMPLES[:4]), first=st.sampled_from(CUT), data=st.data())
def test_masks_cut_secret(secret: str, first: tuple[Encode, ...], data: st.DataObject) -> None:
    spelled = encode(secret, first)
    length = data.draw(st.integers(16, len(spelled)))
    redactor = Redactor([secret])
    for cut in (spelled[:length], spelled[-length:]):
        assert not leaks(cut, redactor.scrub(f"before {cut}|after"), 8)
        assert not redactor.passes(orjson.dumps({"event": f"before {cut}|after"}).decode())


def test_masks_cut_secrets_that_begin_alike() -> None:
    """Session tokens of AWS all begin with the same letters."""
    first, second = "IQoJb3JpZ2luX2VjEHoa" + "A" * 60, "IQoJb3JpZ2luX2VjEHoa" + "B" * 40
    shown = Redactor([first, second]).scrub(f"{first[:50]} {second[:45]}")
    assert shown == "*** ***"


@pytest.mark.parametrize(
    "text",
    ["https://discord.com/api/webhooks", "see https://discord.com/developers", "C:\\new\\table\n50%25"],
)
def test_keeps_text_that_only_begins_alike(text: str) -> None:
    assert Redactor([WEBHOOK, WEBHOOK.rpartition("/")[2]]).scrub(text) == text


def test_rows_of_backslashes_take_linear_time() -> None:
    """A log line must not stall the process."""
    began = time.perf_counter()
    shown = Redactor([SECRET_KEY]).scrub(f"{wrap(SECRET_KEY)}\n" + "\\" * 50_000)
    assert time.perf_counter() - began < 5
    assert len(shown) > 50_000

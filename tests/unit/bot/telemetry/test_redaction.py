"""Redaction masks known secrets in any object and spelling, and unknown ones by their form or name."""

import base64
import dataclasses
import enum
import json
import re
import urllib.parse
from collections import deque, namedtuple
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import aiohttp
import multidict
import orjson
import pydantic
import pytest
import yarl
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from bot.telemetry.redaction import SECRET_MIN_CHARS, Redactor
from bot.telemetry.secret_patterns import MASK
from tests.support.secret_samples import (
    ACCESS_KEY,
    AUTHORIZATION,
    BOT_TOKEN,
    SECRET_KEY,
    SESSION_TOKEN,
    WEBHOOK,
)


@dataclasses.dataclass
class Holder:
    value: object
    hidden: str = dataclasses.field(default="never shown", repr=False)


class Model(pydantic.BaseModel):
    value: Any
    hidden: str = pydantic.Field("never shown", repr=False)
    wrapped: pydantic.SecretStr = pydantic.SecretStr("never shown")


Pair = namedtuple("Pair", ["first", "second"])  # untyped, as libraries have it


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"<Plain {self.value!r}>"


def as_member(value: object) -> enum.Enum:
    return enum.Enum("Member", {"ONLY": value}).ONLY  # type: ignore[attr-defined,no-any-return]


WRAPPERS: list[Callable[[str], object]] = [
    lambda secret: secret,
    lambda secret: f"before{secret}after",
    lambda secret: secret.encode(),
    lambda secret: bytearray(b"x" + secret.encode()),
    lambda secret: memoryview(secret.encode()),
    lambda secret: {secret: 1},
    lambda secret: {("key", secret): 1},
    lambda secret: {secret},
    lambda secret: frozenset({secret}),
    lambda secret: (1, secret),
    lambda secret: deque([secret]),
    lambda secret: {"a": 1, "b": secret}.values(),
    lambda secret: Pair(1, secret),
    Holder,
    lambda secret: Model(value=secret),
    lambda secret: ValueError("it was", secret),
    KeyError,
    lambda secret: OSError(2, "no", secret),
    Plain,
    lambda secret: type("Text", (str,), {})(secret),
    as_member,
    lambda secret: as_member([secret]),
    lambda secret: multidict.CIMultiDict([("X-A", secret), ("x-a", secret)]),
    lambda secret: multidict.CIMultiDictProxy(multidict.CIMultiDict(X=secret)),
    lambda secret: [(b"X-A", secret.encode())],
    lambda secret: yarl.URL("https://h/").with_query(a=secret),
    lambda secret: PurePosixPath("/a") / urllib.parse.quote(secret, safe=""),
    repr,
    ascii,
    json.dumps,
    lambda secret: json.dumps(secret).replace("/", "\\/"),
    lambda secret: repr(secret.encode()),
    urllib.parse.quote,
    urllib.parse.quote_plus,
    lambda secret: re.sub("%..", lambda code: code.group().lower(), urllib.parse.quote(secret, safe="")),
    lambda secret: urllib.parse.quote(secret, safe=""),
    lambda secret: base64.b64encode(secret.encode()).decode(),
    lambda secret: base64.urlsafe_b64encode(b"a:" + secret.encode() + b"!"),
    lambda secret: base64.b64encode(b"ab" + secret.encode()),
    lambda secret: (
        AWSRequest("GET", "http://h/", headers={"X-A": secret}).prepare() if secret.isprintable() else 1
    ),
]

SECRETS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=SECRET_MIN_CHARS, max_size=40
)
OTHERS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
CARRIED = st.sampled_from(WRAPPERS)


def carriers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Nest the secret's wrapper among other things, some levels deep."""
    return st.one_of(
        st.tuples(OTHERS, inner).map(list),
        st.dictionaries(st.text(max_size=4), OTHERS, max_size=2).flatmap(
            lambda others: inner.map(lambda held: {**others, "held": held})
        ),
        inner.map(Holder),
        inner.map(Plain),
        inner.map(lambda held: RuntimeError(held)),
    )


def texts(value: object) -> str:
    """Return every text in plain data unescaped, unlike JSON."""
    if isinstance(value, dict):
        return "\0".join(texts(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return "\0".join(map(texts, value))
    return str(value)


URL_SAFE = str.maketrans("+/", "-_")


def spellings(secret: str) -> set[str]:
    data = secret.encode()
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(secret).replace("/", "\\/")[1:-1],
        repr(data)[2:-1],
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        urllib.parse.quote(data, safe=""),
        re.sub("%..", lambda code: code.group().lower(), urllib.parse.quote(data, safe="")),
        # Without the last character, which also holds bits of what follows, and without padding.
        base64.b64encode(data).decode()[: 8 * len(data) // 6],
    }


@given(secret=SECRETS, data=st.data())
def test_masks_known_secret_anywhere(secret: str, data: st.DataObject) -> None:
    holder = data.draw(st.recursive(CARRIED.map(lambda wrap: wrap(secret)), carriers, max_leaves=3))
    shown = texts(Redactor([secret]).redact({"event": "x", "field": holder}))
    assert not [spelling for spelling in spellings(secret) if spelling in shown]


@pytest.mark.parametrize(
    "secret",
    [
        "plain-and-simple",
        "slash/plus+equals=",
        "quotes \" and ' and \\ too",
        "ünïcödé ☎ \U0001f512",
        "line\nand\ttab",
        "01234567",
    ],
)
@pytest.mark.parametrize("wrap", WRAPPERS)
def test_masks_known_secret_in_each_type(wrap: Callable[[str], object], secret: str) -> None:
    shown = texts(Redactor([secret]).redact({"event": "x", "field": wrap(secret)}))
    assert not [spelling for spelling in spellings(secret) if spelling in shown]
    encoded = {base64.b64encode(bytes(before) + secret.encode())[4:-4].decode() for before in range(3)}
    assert not [each for each in encoded | {each.translate(URL_SAFE) for each in encoded} if each in shown]


def test_masks_longer_secret_first() -> None:
    redactor = Redactor(["secret-1234", "secret-1234-and-more"])
    assert redactor.scrub("secret-1234-and-more") == MASK


def test_shows_repeated_headers() -> None:
    headers = multidict.CIMultiDict([("X-A", "1"), ("X-A", "2")])
    assert Redactor().redact(headers) == {"X-A": ["1", "2"]}


@given(secret=st.integers(10**8, 10**15))
def test_masks_known_secret_in_number(secret: int) -> None:
    assert Redactor([str(secret)]).redact([secret, float(secret), -secret]) == [MASK, MASK, MASK]


@given(
    secret=SECRETS,
    value=st.recursive(
        OTHERS
        | st.sampled_from(
            ["token", "Bot x.y.z-1234", "/webhooks/1/abcdefgh", "a@b://c:d@e", ACCESS_KEY, BOT_TOKEN]
        ),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    ),
    hit=st.booleans(),
)
def test_passes_only_unchanged_lines(secret: str, value: object, hit: bool) -> None:
    """A line that ``passes`` is one that ``redact`` would not change."""
    redactor = Redactor([secret])
    event = {"event": "x", "field": [value, f"a{secret}"] if hit else value}
    try:
        line = orjson.dumps(event).decode()
    except orjson.JSONEncodeError:
        return
    if redactor.passes(line):
        assert orjson.loads(orjson.dumps(redactor.redact(event))) == orjson.loads(line)
        assert not hit


@pytest.mark.parametrize(
    "secret", ["slash/plus+equals=", "quotes \" and/or ' and \\ too", "ünïcödé ☎ \U0001f512"]
)
def test_passes_no_spelling(secret: str) -> None:
    redactor = Redactor([secret])
    lines = {each: orjson.dumps({"event": f"a {each} b"}).decode() for each in spellings(secret)}
    assert not [each for each, line in lines.items() if redactor.passes(line)]


def test_passes_ordinary_line() -> None:
    """Redaction is slow, so the most frequent lines must not need it."""
    line = (
        '{"timestamp":"2026-11-21T07:00:00.123Z","level":"info","event":"batch_delivered",'
        '"logger":"bot.delivery.dispatcher","execution":"01JD0000000000000000000000","events":25}'
    )
    assert Redactor([BOT_TOKEN, WEBHOOK, SECRET_KEY]).passes(line)


def test_keeps_harmless_fields_and_headers() -> None:
    credentials = ReadOnlyCredentials(ACCESS_KEY, SECRET_KEY, SESSION_TOKEN)
    headers = multidict.CIMultiDict({"Authorization": AUTHORIZATION, "Content-Type": "application/json"})
    assert Redactor().redact([credentials, headers]) == [
        {"access_key": MASK, "secret_key": MASK, "token": MASK, "account_id": None},
        {"Authorization": MASK, "Content-Type": "application/json"},
    ]


def test_masks_webhook_in_aiohttp_error() -> None:
    request = aiohttp.RequestInfo(
        yarl.URL(WEBHOOK), "POST", multidict.CIMultiDictProxy(multidict.CIMultiDict())
    )
    error = aiohttp.ClientResponseError(request, (), status=404, message="Not Found")
    assert "Zyxw" not in json.dumps(Redactor().redact([error, repr(error), error.args]))


def test_masks_fields_kept_from_repr() -> None:
    redacted = Redactor().redact([Holder(1), Model(value=2)])
    assert redacted == [{"value": 1, "hidden": MASK}, {"value": 2, "hidden": MASK, "wrapped": MASK}]


def test_broken_object_becomes_type_name() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("not even this")

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("nor this")

    assert Redactor().redact([Broken(), BrokenError()]) == ["<Broken>", "<BrokenError>"]


def test_cuts_self_reference() -> None:
    ring: list[object] = []
    ring.append(ring)
    assert "<list>" in json.dumps(Redactor().redact(ring))


def test_cuts_huge_collections() -> None:
    assert Redactor().redact(range(1000))[-1] == "800 more"
    assert len(Redactor().redact(dict.fromkeys(map(str, range(1000))))) == 200


def test_masks_added_secret() -> None:
    redactor = Redactor()
    redactor.add(SECRET_KEY)
    assert redactor.scrub(f"it is {SECRET_KEY}!") == f"it is {MASK}!"


def test_keeps_first_and_newest_secrets() -> None:
    """Credentials are refreshed every hour, for months, and only the newest are kept."""
    redactor = Redactor(["the-first-secret"])
    for number in range(200):
        redactor.add(f"renewed-secret-{number:04}")
    assert redactor.scrub("the-first-secret renewed-secret-0199") == f"{MASK} {MASK}"
    assert redactor.scrub("renewed-secret-0000") == "renewed-secret-0000"


@pytest.mark.parametrize("short", ["", "test", "7-chars"])
def test_ignores_short_secrets(short: str) -> None:
    redactor = Redactor([short])
    redactor.add(short)
    assert redactor.scrub(f"a {short} b") == f"a {short} b"

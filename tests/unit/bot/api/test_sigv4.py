"""Signatures equal the published ones, and botocore's own for any request."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from unittest import mock
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from bot.api.sigv4 import sign

NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
KEY = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FORM = b"Param1=value1"
FORM_HASH = hashlib.sha256(FORM).hexdigest()
TOKENS = {
    "get-vanilla-with-session-token": "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
    "post-sts-header-before": (
        "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeo"
        "IYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5V"
        "SXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yj"
        "c8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
    ),
}
# The request of each case, and the signature in its Authorization header. Omitted: the unnormalised cases,
# which only S3 signs, and post-sts-header-after, whose token is added after signing.
# https://github.com/awslabs/aws-c-auth/tree/main/tests/aws-signing-test-suite/v4
PUBLISHED: list[tuple[str, str, str, dict[str, str], str]] = [
    (
        "get-header-key-duplicate",
        "GET",
        "/",
        {"My-Header1": "value2,value2,value1"},
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    (
        "get-header-value-multiline",
        "GET",
        "/",
        {"My-Header1": "value1\n  value2\n     value3"},
        "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
    ),
    (
        "get-header-value-order",
        "GET",
        "/",
        {"My-Header1": "value4,value1,value3,value2"},
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
    ),
    (
        "get-header-value-trim",
        "GET",
        "/",
        {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    (
        "get-relative-normalized",
        "GET",
        "/example/..",
        {},
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-relative-relative-normalized",
        "GET",
        "/example1/example2/../..",
        {},
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-slash-dot-slash-normalized",
        "GET",
        "/./",
        {},
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-slash-normalized",
        "GET",
        "//",
        {},
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-slash-pointless-dot-normalized",
        "GET",
        "/./example",
        {},
        "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
    ),
    (
        "get-slashes-normalized",
        "GET",
        "//example//",
        {},
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    (
        "get-space-normalized",
        "GET",
        "/example space/",
        {},
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    (
        "get-unreserved",
        "GET",
        f"/{UNRESERVED}",
        {},
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    ("get-utf8", "GET", "/ሴ", {}, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    (
        "get-vanilla-empty-query-key",
        "GET",
        "/?Param1=value1",
        {},
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    (
        "get-vanilla-query-order-encoded",
        "GET",
        "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        {},
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    (
        "get-vanilla-query-order-key-case",
        "GET",
        "/?Param2=value2&Param1=value1",
        {},
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "get-vanilla-query-unreserved",
        "GET",
        f"/?{UNRESERVED}={UNRESERVED}",
        {},
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    ("get-vanilla-query", "GET", "/", {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    (
        "get-vanilla-utf8-query",
        "GET",
        "/?%E1%88%B4=bar",
        {},
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    (
        "get-vanilla-with-session-token",
        "GET",
        "/",
        {},
        "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
    ),
    ("get-vanilla", "GET", "/", {}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    (
        "post-header-key-case",
        "POST",
        "/",
        {},
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    (
        "post-header-key-sort",
        "POST",
        "/",
        {"My-Header1": "value1"},
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    (
        "post-header-value-case",
        "POST",
        "/",
        {"My-Header1": "VALUE1"},
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    ),
    (
        "post-sts-header-before",
        "POST",
        "/",
        {},
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    ),
    (
        "post-vanilla-empty-query-value",
        "POST",
        "/?Param1=value1",
        {},
        "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    (
        "post-vanilla-query",
        "POST",
        "/?Param1=value1",
        {},
        "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    ("post-vanilla", "POST", "/", {}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "post-x-www-form-urlencoded-parameters",
        "POST",
        "/",
        {
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            "Content-Length": "13",
            "x-amz-content-sha256": FORM_HASH,
        },
        "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
    ),
    (
        "post-x-www-form-urlencoded",
        "POST",
        "/",
        {
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Length": "13",
            "x-amz-content-sha256": FORM_HASH,
        },
        "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
    ),
]


@pytest.mark.parametrize(
    ("name", "method", "path", "headers", "signature"), PUBLISHED, ids=[case[0] for case in PUBLISHED]
)
def test_equals_published_signature(
    name: str, method: str, path: str, headers: dict[str, str], signature: str
) -> None:
    token = TOKENS.get(name)
    added = sign(
        method,
        f"https://example.amazonaws.com{path}",
        headers,
        FORM if FORM_HASH in headers.values() else b"",
        ReadOnlyCredentials(*KEY, token),
        region="us-east-1",
        now=NOW,
        service="service",
    )
    names = sorted(
        {"host", "x-amz-date", *map(str.lower, headers)} | ({"x-amz-security-token"} if token else set())
    )
    assert added["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    assert added["x-amz-date"] == "20150830T123600Z"
    assert added.get("x-amz-security-token") == token
    assert set(added) <= {"authorization", "x-amz-date", "x-amz-security-token"}


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
PAIR = st.tuples(TEXT, TEXT).map(lambda pair: f"{quote(pair[0], safe='')}={quote(pair[1], safe='')}")
NAMES = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ-0123456789", min_size=1, max_size=12).map("x-".__add__)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
UNSIGNED = st.sampled_from(["User-Agent", "Connection", "Expect", "X-Amzn-Trace-Id", "Transfer-Encoding"])


@given(
    base=st.sampled_from(
        [
            "https://a1b2c3.execute-api.eu-central-1.amazonaws.com",
            "http://127.0.0.1:4566",
            "http://localhost:80",
            "https://LOCALHOST:443",
            "https://[::1]:8443",
        ]
    ),
    segments=st.lists(TEXT | st.sampled_from(["..", ".", "", "%2F", "a b", "$default", "~"]), max_size=5),
    query=st.lists(PAIR, max_size=4),
    headers=st.dictionaries(NAMES | UNSIGNED, VALUES, max_size=5),
    body=TEXT.map(str.encode) | st.binary(max_size=40),
    token=st.none() | st.text("abcXYZ/+=0189", max_size=30),
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_equals_botocores_signature(
    base: str,
    segments: list[str],
    query: list[str],
    headers: dict[str, str],
    body: bytes,
    token: str | None,
    moment: datetime,
) -> None:
    url = f"{base}/{'/'.join(quote(each) for each in segments)}" + ("?" + "&".join(query) if query else "")
    if len({name.lower() for name in headers}) != len(headers):
        headers = {name.lower(): value for name, value in headers.items()}
    credentials = ReadOnlyCredentials(*KEY, token)
    request = AWSRequest(method="POST", url=url, data=body, headers=headers)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=moment):
        botocore.auth.SigV4Auth(credentials, "execute-api", "eu-central-1").add_auth(request)
    added = sign("POST", url, headers, body, credentials, region="eu-central-1", now=moment)
    expected = {name.lower(): value for name, value in request.headers.items()}
    assert {**{name.lower(): value for name, value in headers.items()}, **added} == expected


def test_time_zone_does_not_matter() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    first, second = (
        sign("GET", "https://h/", {}, b"", ReadOnlyCredentials(*KEY, None), region="us-east-1", now=now)
        for now in (NOW, elsewhere)
    )
    assert first == second


def test_refuses_naive_time() -> None:
    with pytest.raises(ValueError, match="time zone"):
        sign(
            "GET",
            "https://h/",
            {},
            b"",
            ReadOnlyCredentials(*KEY, None),
            region="r",
            now=NOW.replace(tzinfo=None),
        )


def test_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """botocore's own signer logs the canonical request, session token included, at debug level."""
    caplog.set_level("DEBUG")
    sign("GET", "https://h/", {}, b"", ReadOnlyCredentials(*KEY, "token"), region="us-east-1", now=NOW)
    assert caplog.records == []

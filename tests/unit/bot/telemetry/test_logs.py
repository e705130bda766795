"""One pipeline for every log: what a line looks like, and that no secret gets to its end."""

import asyncio
import io
import json
import logging
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from bot.telemetry.logs import _ALWAYS_TELLING, configure_logging, log_loop_exception

SECRET = "a-secret-value/with+signs"


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Give the process its own logging back."""
    root = logging.root
    before = root.handlers, root.level, sys.excepthook, threading.excepthook
    yield
    root.handlers, root.level, sys.excepthook, threading.excepthook = before
    for name in _ALWAYS_TELLING:
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(False)
    structlog.reset_defaults()


class Output(io.StringIO):
    """What was written; a terminal if it is told to be one."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def output() -> Output:
    return Output()


def test_a_line_says_when_how_bad_what_and_who(output: Output) -> None:
    configure_logging("json", "info", stream=output)
    structlog.get_logger("bot.delivery.dispatcher").info("batch_delivered", execution="01JD", events=3)
    (line,) = output.lines
    assert list(line) == ["timestamp", "level", "event", "logger", "execution", "events"]
    timestamp = line.pop("timestamp")
    assert line == {
        "level": "info",
        "event": "batch_delivered",
        "logger": "bot.delivery.dispatcher",
        "execution": "01JD",
        "events": 3,
    }
    assert timestamp[-1] == "Z"
    assert len(timestamp) == len("2026-11-21T07:00:00.123Z")


def test_a_record_of_the_standard_library_looks_the_same(output: Output) -> None:
    configure_logging("json", "info", stream=output)
    logging.getLogger("discord.gateway").info("Shard ID %s has connected", 0)
    (line,) = output.lines
    assert list(line) == ["timestamp", "level", "event", "logger"]
    assert (line["level"], line["logger"]) == ("info", "discord.gateway")
    assert line["event"] == "Shard ID 0 has connected"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_only_the_level_and_what_is_worse_is_written(output: Output, level: str) -> None:
    levels = ["debug", "info", "warning", "error", "critical"]
    configure_logging("json", level, stream=output)
    for each in levels:
        getattr(structlog.get_logger("bot.x"), each)("ours")
        getattr(logging.getLogger("discord"), each)("theirs")
    expected = levels[levels.index(level) :]
    assert [line["level"] for line in output.lines if line["event"] == "ours"] == expected
    assert [line["level"] for line in output.lines if line["event"] == "theirs"] == expected


@pytest.mark.parametrize(
    ("log_format", "terminal", "is_json"),
    [("auto", False, True), ("auto", True, False), ("json", True, True), ("text", False, False)],
)
def test_auto_is_text_on_a_terminal_only(log_format: Any, terminal: bool, is_json: bool) -> None:
    output = Output(terminal=terminal)
    configure_logging(log_format, "info", stream=output)
    structlog.get_logger("bot.x").info("hello")
    assert output.getvalue().startswith("{") is is_json
    assert ("\x1b[" in output.getvalue()) is (terminal and not is_json)


def test_configuring_again_replaces_what_was(output: Output) -> None:
    first = Output()
    configure_logging("json", "info", stream=first)
    log = structlog.get_logger("bot.x")
    log.info("one")
    configure_logging("json", "info", stream=output)
    log.info("two")
    logging.getLogger("discord").info("three")
    assert [line["event"] for line in first.lines] == ["one"]
    assert [line["event"] for line in output.lines] == ["two", "three"]


def test_what_is_bound_to_the_context_is_in_the_line(output: Output) -> None:
    configure_logging("json", "info", stream=output)
    with structlog.contextvars.bound_contextvars(event_id="01JD"):
        structlog.get_logger("bot.x").info("noticed")
    assert output.lines[0]["event_id"] == "01JD"


def fail(secret: str) -> None:
    local = secret
    raise ValueError(f"it was {local}")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_an_exception_is_told_without_its_locals(output: Output, log_format: Any) -> None:
    configure_logging(log_format, "info", [SECRET], output)
    try:
        fail(SECRET)
    except ValueError as error:
        structlog.get_logger("bot.x").exception("failed", reason=error)
        logging.getLogger("aiohttp.server").exception("failed too")
    written = output.getvalue()
    assert written.count("it was ***") == 3
    assert SECRET not in written
    if log_format == "json":
        ours, theirs = output.lines
        assert ours["reason"] == "ValueError: it was ***"
        for line in (ours, theirs):
            (exception,) = line["exception"]
            assert (exception["exc_type"], exception["exc_value"]) == ("ValueError", "it was ***")
            assert [set(frame) for frame in exception["frames"]] == [{"filename", "lineno", "name"}] * 2


@pytest.mark.parametrize(("level", "heard"), [("debug", 2), ("info", 1), ("warning", 1), ("error", 0)])
def test_where_credentials_were_found_is_no_news_at_info(output: Output, level: str, heard: int) -> None:
    """A level that was set before does not stay."""
    configure_logging("json", "info", stream=io.StringIO())
    configure_logging("json", level, stream=output)
    logger = logging.getLogger("botocore.credentials")
    logger.info("Found credentials in environment variables.")
    logger.warning("Refreshing failed")
    assert len(output.lines) == heard


@pytest.mark.parametrize(("level", "shown"), [("info", False), ("debug", True)])
def test_a_library_s_warning_needs_no_traceback(output: Output, level: str, shown: bool) -> None:
    """botocore shows one for every renewal of credentials that it goes on to do without."""
    configure_logging("json", level, [SECRET], output)
    try:
        fail(SECRET)
    except ValueError:
        logging.getLogger("botocore.credentials").warning("Refreshing failed", exc_info=True)
    (line,) = output.lines
    assert ("exception" in line) is shown
    assert line.get("error") == (None if shown else "ValueError: it was ***")


def test_a_warning_is_a_log_line(output: Output) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging("json", "info", stream=output)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    (line,) = output.lines
    assert line["logger"] == "py.warnings"
    assert "DeprecationWarning: old" in line["event"]


def test_what_no_thread_caught_is_a_log_line(output: Output) -> None:
    configure_logging("json", "info", [SECRET], output)
    thread = threading.Thread(target=fail, args=(SECRET,))
    thread.start()
    thread.join()
    (line,) = output.lines
    assert (line["level"], line["event"]) == ("critical", "uncaught_exception")
    assert line["exception"][0]["exc_value"] == "it was ***"


async def test_what_nobody_awaited_is_a_log_line(output: Output) -> None:
    configure_logging("json", "info", [SECRET], output)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_loop_exception)
    loop.call_soon(fail, SECRET)
    await asyncio.sleep(0)
    (line,) = output.lines
    assert (line["level"], line["event"]) == ("error", "uncaught_in_event_loop")
    assert line["exception"][0]["exc_value"] == "it was ***"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_process_that_dies_says_so_in_its_log(log_format: str) -> None:
    program = f"""
        from bot.telemetry.logs import configure_logging
        configure_logging({log_format!r}, "info", [{SECRET!r}])
        raise RuntimeError("this {SECRET}")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == ""
    assert "uncaught_exception" in done.stdout
    assert "this ***" in done.stdout
    assert SECRET not in done.stdout


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("level", ["info", "debug"])
def test_botocore_s_signer_shows_nothing_at_debug(output: Output, log_format: Any, level: str) -> None:
    """It writes the canonical request with the session token, and the signature."""
    token = "FwoGZXIvYXdzEJr//////////wEaDG+made/up"
    configure_logging(log_format, level, [], output)
    credentials = ReadOnlyCredentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG", token)
    request = AWSRequest("POST", "https://h/", data=b"x", headers={"content-type": "a"})
    SigV4Auth(credentials, "execute-api", "eu-west-1").add_auth(request)
    logging.getLogger("botocore.endpoint").debug("Sending http request: %s", request.prepare())
    written = output.getvalue()
    assert ("CanonicalRequest" in written) is (level == "debug")
    signature = request.headers["Authorization"].rpartition("=")[2]
    assert not [each for each in (token, "wEaDG+made", "AKIAIOSFODNN7EXAMPLE", signature) if each in written]


@pytest.mark.parametrize("log_format", ["json", "text"])
@given(
    secret=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=8, max_size=30),
    level=st.sampled_from(["info", "error"]),
)
def test_a_known_secret_is_in_no_line(log_format: Any, secret: str, level: str) -> None:
    output = Output()
    redactor = configure_logging(log_format, "info", [], output)
    redactor.add(secret)
    own, theirs = structlog.get_logger("bot.x"), logging.getLogger("discord")
    try:
        raise KeyError(secret)
    except KeyError as error:
        getattr(own, level)(f"a {secret}", field=secret, deep=[{"a": {secret: error}}], exc_info=True)
        getattr(theirs, level)("b %s %r", secret, {"c": secret}, exc_info=True)
    written = output.getvalue()
    spellings = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    assert not [each for each in spellings if each in written]


def test_a_name_can_neither_end_a_line_nor_steer_a_terminal() -> None:
    output = Output()
    configure_logging("text", "info", stream=output)
    structlog.get_logger("bot.x").info("joined", name="\x1b[2J\nINFO forged", names=["\x9b1m"])
    logging.getLogger("discord").info("%s", "\r\nforged")
    assert len(output.getvalue().splitlines()) == 2
    assert not {"\x1b", "\x9b", "\r"} & set(output.getvalue())


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_any_object_makes_a_line(output: Output, log_format: Any) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    configure_logging(log_format, "info", stream=output)
    structlog.get_logger("bot.x").info(
        "odd",
        broken=Broken(),
        surrogate="\ud800",
        huge=10**400,
        keys={1: 2, None: 3, b"x": 4},
        both={1, 2},
        nan=1e999,
    )
    assert len(output.getvalue().splitlines()) == 1
    assert "<Broken>" in output.getvalue()


def test_a_record_that_cannot_be_put_together_is_named(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    """logging itself would print a traceback with all arguments, whatever they are."""
    configure_logging("json", "info", stream=output)
    logging.getLogger("discord").info("%d", SECRET)
    assert output.lines == [{"event": "log_line_unreadable", "logger": "discord", "reason": "TypeError"}]
    assert capsys.readouterr().err == ""


def test_a_stream_that_is_closed_stops_nobody(output: Output) -> None:
    configure_logging("json", "info", stream=output)
    output.close()
    structlog.get_logger("bot.x").info("hello")
    logging.getLogger("discord").info("hello")


def test_a_stream_of_another_encoding_gets_every_line() -> None:
    raw = io.BytesIO()
    configure_logging("text", "info", stream=io.TextIOWrapper(raw, encoding="ascii"))
    structlog.get_logger("bot.x").info("joined", name="zoë")
    assert b"name=zo\\xeb\n" in raw.getvalue()


def test_lines_of_many_threads_stay_whole(output: Output) -> None:
    configure_logging("json", "info", stream=output)

    def write(number: int) -> None:
        for _ in range(50):
            structlog.get_logger("bot.x").info("ours", number=number, filler="x" * 200)
            logging.getLogger("discord").info("theirs %s", "y" * 200)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(output.lines) == 800

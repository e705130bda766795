"""The log pipeline: the form of a line, and no secret in any."""

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

from bot.telemetry.logs import _CHATTY, configure_logging, log_loop_exception

SECRET = "a-secret-value/with+signs"


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Restore the logging of the test process."""
    root = logging.root
    before = root.handlers, root.level, sys.excepthook, threading.excepthook
    yield
    root.handlers, root.level, sys.excepthook, threading.excepthook = before
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(False)
    structlog.reset_defaults()


class Output(io.StringIO):
    """A stream that keeps what was written; *terminal* makes it look like one."""

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


def test_line_begins_with_common_fields(output: Output) -> None:
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


def test_library_records_have_same_form(output: Output) -> None:
    configure_logging("json", "info", stream=output)
    logging.getLogger("discord.http").info("Shard ID %s has connected", 0)
    (line,) = output.lines
    assert list(line) == ["timestamp", "level", "event", "logger"]
    assert (line["level"], line["logger"]) == ("info", "discord.http")
    assert line["event"] == "Shard ID 0 has connected"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_writes_from_level_up(output: Output, level: str) -> None:
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
def test_auto_is_text_on_terminal(log_format: Any, terminal: bool, is_json: bool) -> None:
    output = Output(terminal=terminal)
    configure_logging(log_format, "info", stream=output)
    structlog.get_logger("bot.x").info("hello")
    assert output.getvalue().startswith("{") is is_json
    assert ("\x1b[" in output.getvalue()) is (terminal and not is_json)


def test_reconfiguring_replaces_output(output: Output) -> None:
    first = Output()
    configure_logging("json", "info", stream=first)
    log = structlog.get_logger("bot.x")
    log.info("one")
    configure_logging("json", "info", stream=output)
    log.info("two")
    logging.getLogger("discord").info("three")
    assert [line["event"] for line in first.lines] == ["one"]
    assert [line["event"] for line in output.lines] == ["two", "three"]


def test_includes_context_variables(output: Output) -> None:
    configure_logging("json", "info", stream=output)
    with structlog.contextvars.bound_contextvars(event_id="01JD"):
        structlog.get_logger("bot.x").info("noticed")
    assert output.lines[0]["event_id"] == "01JD"


def fail(secret: str) -> None:
    local = secret
    raise ValueError(f"it was {local}")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_exception_omits_locals(output: Output, log_format: Any) -> None:
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
@pytest.mark.parametrize("name", ["botocore.credentials", "discord.client", "discord.gateway"])
def test_routine_is_quiet_at_info(output: Output, name: str, level: str, heard: int) -> None:
    """A level configured earlier does not stay."""
    configure_logging("json", "info", stream=io.StringIO())
    configure_logging("json", level, stream=output)
    logger = logging.getLogger(name)
    logger.info("All is well")
    logger.warning("Something is not")
    assert len(output.lines) == heard


@pytest.mark.parametrize(("level", "shown"), [("info", False), ("debug", True)])
def test_library_warning_omits_traceback(output: Output, level: str, shown: bool) -> None:
    """botocore attaches one whenever it fails to refresh credentials that are still valid."""
    configure_logging("json", level, [SECRET], output)
    try:
        fail(SECRET)
    except ValueError:
        logging.getLogger("botocore.credentials").warning("Refreshing failed", exc_info=True)
    (line,) = output.lines
    assert ("exception" in line) is shown
    assert line.get("error") == (None if shown else "ValueError: it was ***")


def test_logs_python_warnings(output: Output) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging("json", "info", stream=output)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    (line,) = output.lines
    assert line["logger"] == "py.warnings"
    assert "DeprecationWarning: old" in line["event"]


def test_logs_uncaught_error_of_thread(output: Output) -> None:
    configure_logging("json", "info", [SECRET], output)
    thread = threading.Thread(target=fail, args=(SECRET,))
    thread.start()
    thread.join()
    (line,) = output.lines
    assert (line["level"], line["event"]) == ("critical", "uncaught_exception")
    assert line["exception"][0]["exc_value"] == "it was ***"


async def test_logs_uncaught_error_of_loop(output: Output) -> None:
    configure_logging("json", "info", [SECRET], output)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_loop_exception)
    loop.call_soon(fail, SECRET)
    await asyncio.sleep(0)
    (line,) = output.lines
    assert (line["level"], line["event"]) == ("error", "uncaught_in_event_loop")
    assert line["exception"][0]["exc_value"] == "it was ***"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_logs_uncaught_error_of_process(log_format: str) -> None:
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
def test_masks_botocore_signer_at_debug(output: Output, log_format: Any, level: str) -> None:
    """botocore logs the canonical request, which has the session token, and the signature."""
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
def test_no_line_has_known_secret(log_format: Any, secret: str, level: str) -> None:
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


def test_text_escapes_control_characters() -> None:
    output = Output()
    configure_logging("text", "info", stream=output)
    structlog.get_logger("bot.x").info("joined", name="\x1b[2J\nINFO forged", names=["\x9b1m"])
    logging.getLogger("discord").info("%s", "\r\nforged")
    assert len(output.getvalue().splitlines()) == 2
    assert not {"\x1b", "\x9b", "\r"} & set(output.getvalue())


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u2028", "\u2029", "\u200b", "\x85", "\u061c"])
def test_text_escapes_direction_and_separators(character: str) -> None:
    """A user's name must not reverse the line, and no reader may see two lines in one."""
    output = Output()
    configure_logging("text", "info", stream=output)
    log = structlog.get_logger("bot.x")
    log.info("joined", name=f"a{character}b")
    try:
        raise ValueError(f"a{character}b")
    except ValueError:
        log.exception("failed", names=[f"a{character}b"])
    assert character not in output.getvalue()
    assert output.getvalue().count("\n") == len(output.getvalue().splitlines()) > 3


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_logs_any_object(output: Output, log_format: Any) -> None:
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


def test_logs_unreadable_record(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    """logging itself would print a traceback with all arguments."""
    configure_logging("json", "info", stream=output)
    logging.getLogger("discord").info("%d", SECRET)
    assert output.lines == [{"event": "log_line_unreadable", "logger": "discord", "reason": "TypeError"}]
    assert capsys.readouterr().err == ""


def test_closed_stream_raises_nothing(output: Output) -> None:
    configure_logging("json", "info", stream=output)
    output.close()
    structlog.get_logger("bot.x").info("hello")
    logging.getLogger("discord").info("hello")


def test_escapes_for_stream_encoding() -> None:
    raw = io.BytesIO()
    configure_logging("text", "info", stream=io.TextIOWrapper(raw, encoding="ascii"))
    structlog.get_logger("bot.x").info("joined", name="zoë")
    assert b"name=zo\\u00eb\n" in raw.getvalue()


def test_threads_write_whole_lines(output: Output) -> None:
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


@pytest.mark.parametrize("name", ["a\u2028b", "a\x85b", "a\x9b2Jb", "a\u202eb", "a\x7fb", "\U000e0001"])
def test_json_line_escapes_controls(output: Output, name: str) -> None:
    """A line stays one line for every reader, and the value stays the same."""
    configure_logging("json", "info", [], output)
    structlog.get_logger().info("payload_not_taken", name=name)
    structlog.get_logger().info("payload_not_taken", name=name, token="looks-like/secret+123456")
    lines = output.getvalue().removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    assert [json.loads(line)["name"] for line in lines] == [name, name]


def test_json_line_on_ascii_stream() -> None:
    """What the stream's encoding lacks is escaped as JSON."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    configure_logging("json", "info", [], stream)
    structlog.get_logger().info("guild_seen", name="Grüße 🎉")
    stream.seek(0)
    assert json.loads(stream.read())["name"] == "Grüße 🎉"

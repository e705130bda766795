"""Logs: one pipeline for our events and the libraries' records, one line each, secrets masked.

    bot.*                       structlog ──┐
    discord, aiohttp, botocore  logging ────┼── time, level, logger ── exception ── redaction ── JSON or text
    warnings, uncaught errors   logging ────┘

A disabled level costs one call that does nothing. Lines of all threads are written whole. A line that
cannot be written (closed pipe, full disk) is dropped: there is nowhere left to report that.
"""

import asyncio
import contextlib
import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterable, MutableMapping
from types import TracebackType
from typing import Any, Final, Literal, TextIO

import orjson
import structlog
from structlog.tracebacks import ExceptionDictTransformer

from bot.clock import format_ms, system_clock
from bot.telemetry.redaction import Redactor
from bot.text import escape, fit

Fields = MutableMapping[str, Any]
Processor = Callable[[Any, str, Fields], Any]

_JSON_OPTIONS: Final = (
    orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
)
_FRAMES_MAX: Final = 30
_CHATTY: Final = ("botocore.credentials", "botocore.tokens", "discord.client", "discord.gateway")
"""Loggers whose info records are routine, or said better by the relay itself: shown only at debug."""
_LINE_OR_TAB: Final = re.compile(r"([\n\t])")

log = structlog.get_logger(__name__)


def configure_logging(
    log_format: Literal["auto", "json", "text"],
    level: str,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> Redactor:
    """Write all logs of this process from *level* up to *stream*, by default the standard output.

    Returns the redactor, to which secrets found later must be added. ``auto`` means text on a terminal and
    JSON elsewhere. Replaces any earlier logging configuration.
    """
    stream = sys.stdout if stream is None else stream
    redactor = Redactor(secrets)
    number = logging.getLevelNamesMapping()[level.upper()]
    as_text = log_format == "text" or (log_format == "auto" and stream.isatty())
    explain, render = _text_output(redactor, stream) if as_text else _json_output(redactor)
    lines = _Lines(stream, render)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _describe, explain, lines.render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda name="", *_: _Logger(name, lines.write),
        # A cached logger would keep its old stream.
        cache_logger_on_first_use=False,
    )
    logging.root.handlers = [_Handler(lines, explain, verbose=number <= logging.DEBUG)]
    logging.root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING if number == logging.INFO else logging.NOTSET)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    return redactor


def log_loop_exception(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an exception that no task or callback handled, as the loop's exception handler."""
    message = str(context.get("message", ""))
    log.error("uncaught_in_event_loop", message=message, exc_info=context.get("exception"))


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    log.critical("uncaught_exception", exc_info=(kind, error, trace))


class _Lines:
    """The end of the pipeline: renders events and writes lines."""

    def __init__(self, stream: TextIO, render: Callable[[Fields], str]) -> None:
        self._stream = stream
        self._render = render
        self._lock = threading.Lock()

    def render(self, _logger: object, _method: str, event: Fields) -> str:
        try:
            return self._render(event)
        except Exception as error:  # noqa: BLE001  # a failing log line must not fail its caller
            return json.dumps({"event": "log_line_unreadable", "reason": type(error).__name__})

    def write(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            try:
                self._stream.write(line + "\n")
            except UnicodeEncodeError as error:
                self._stream.write(fit(line, error.encoding) + "\n")
            self._stream.flush()


class _Logger:
    """The logger under structlog's bound loggers, which pass it finished lines."""

    def __init__(self, name: str, write: Callable[[str], None]) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = self.msg = write


class _Handler(logging.Handler):
    """Feeds the standard library's records into the pipeline.

    Libraries attach tracebacks to warnings about errors that they handle; unless *verbose*, only the
    error's text is kept.
    """

    def __init__(self, lines: _Lines, explain: Processor, *, verbose: bool) -> None:
        super().__init__()
        self._lines = lines
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[_describe_record] if verbose else [_describe_record, _drop_traceback],
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    explain,
                    lines.render,
                ],
            )
        )

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001  # logging itself would print a traceback with all arguments
            lost = {"event": "log_line_unreadable", "logger": record.name, "reason": type(error).__name__}
            line = json.dumps(lost)
        self._lines.write(line)


def _describe(logger: Any, method: str, event: Fields) -> Fields:
    return {
        "timestamp": format_ms(system_clock()),
        "level": method,
        "event": event.pop("event", ""),
        "logger": logger.name,
        **event,
    }


def _describe_record(_logger: object, _method: str, event: Fields) -> Fields:
    record: logging.LogRecord = event["_record"]
    return {
        "timestamp": format_ms(int(record.created * 1000)),
        "level": record.levelname.lower(),
        "event": event.pop("event"),
        "logger": record.name,
        **event,
    }


def _drop_traceback(_logger: object, _method: str, event: Fields) -> Fields:
    if event["_record"].levelno < logging.ERROR and (exc_info := event.pop("exc_info", None)):
        event["error"] = exc_info[1]
    return event


def _json_output(redactor: Redactor) -> tuple[Processor, Callable[[Fields], str]]:
    """Return how an exception becomes a field, and how fields become a line."""
    transform = ExceptionDictTransformer(show_locals=False, max_frames=_FRAMES_MAX)

    def render(event: Fields) -> str:
        with contextlib.suppress(orjson.JSONEncodeError):
            line = orjson.dumps(event, default=redactor.redact, option=_JSON_OPTIONS).decode()
            if redactor.passes(line):
                return escape(line)
        plain = redactor.redact(event)
        try:
            # Some readers of lines break them at U+2028, and a terminal takes U+009B for ESC [.
            return escape(orjson.dumps(plain).decode())
        except orjson.JSONEncodeError:
            # orjson refuses a lone surrogate, as in a file name that is not UTF-8.
            return json.dumps(plain)

    return structlog.processors.ExceptionRenderer(transform), render


def _text_output(redactor: Redactor, stream: TextIO) -> tuple[Processor, Callable[[Fields], str]]:
    """Return how an exception becomes a field, and how fields become a line."""
    console = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=24,
        sort_keys=False,
    )

    def render(event: Fields) -> str:
        plain = redactor.redact(event)
        for name, value in plain.items():
            if isinstance(value, str):
                # Names chosen by users must neither break the line nor control the terminal.
                plain[name] = _escape_lines(value) if name == "exception" else escape(value)
        return str(console(None, "", plain))

    return structlog.processors.format_exc_info, render


def _escape_lines(text: str) -> str:
    """Return a traceback escaped, but for its line breaks and tabs."""
    return "".join(each if each in {"\n", "\t"} else escape(each) for each in _LINE_OR_TAB.split(text))

"""Logs: one line for each thing that happened, ours and the libraries' alike, with nothing secret in it.

    bot.*                       structlog ──┐
    discord, aiohttp, botocore  logging ────┼── when, how bad, who ── exception ── redaction ── JSON or text
    warnings, what is uncaught  logging ────┘

A level that is off costs a call that does nothing. Lines are written whole, whichever thread they come from.
What cannot be written (a closed pipe, a full disk) is let go: there is nothing left to tell it to.
"""

import asyncio
import contextlib
import json
import logging
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

Fields = MutableMapping[str, Any]
Processor = Callable[[Any, str, Fields], Any]

_JSON_OPTIONS: Final = (
    orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
)
_FRAMES_MAX: Final = 30
_ALWAYS_TELLING: Final = ("botocore.credentials", "botocore.tokens")
"""What says at info that all is as it always is, as where credentials were found: heard at debug."""
# A name that somebody chose must neither start a new line nor steer a terminal.
_CONTROLS: Final = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160))}
_CONTROLS_IN_TRACEBACK: Final = {code: text for code, text in _CONTROLS.items() if chr(code) not in "\n\t"}

log = structlog.get_logger(__name__)


def configure_logging(
    log_format: Literal["auto", "json", "text"],
    level: str,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> Redactor:
    """Write every log of this process to *stream* (the standard output if ``None``), from *level* on.

    Returns the redactor, which secrets that are found later are to be added to. ``auto`` is text on a
    terminal and JSON elsewhere. Takes the place of all logging that was configured before.
    """
    stream = sys.stdout if stream is None else stream
    redactor = Redactor(secrets)
    number = logging.getLevelNamesMapping()[level.upper()]
    if log_format == "text" or (log_format == "auto" and stream.isatty()):
        explain: Processor = structlog.processors.format_exc_info
        lines = _Lines(stream, _text_renderer(redactor, colors=stream.isatty()))
    else:
        transform = ExceptionDictTransformer(show_locals=False, max_frames=_FRAMES_MAX)
        explain = structlog.processors.ExceptionRenderer(transform)
        lines = _Lines(stream, _json_renderer(redactor))
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _stamp, explain, lines.render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda name="", *_: _Logger(name, lines.write),
        # A cached logger would go on writing where it wrote before.
        cache_logger_on_first_use=False,
    )
    logging.root.handlers = [_Handler(lines, explain, verbose=number <= logging.DEBUG)]
    logging.root.setLevel(number)
    for name in _ALWAYS_TELLING:
        logging.getLogger(name).setLevel(logging.WARNING if number == logging.INFO else logging.NOTSET)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    return redactor


def log_loop_exception(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody awaited; give it to ``loop.set_exception_handler``."""
    message = str(context.get("message", ""))
    log.error("uncaught_in_event_loop", message=message, exc_info=context.get("exception"))


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    log.critical("uncaught_exception", exc_info=(kind, error, trace))


class _Lines:
    """The end of the pipeline: renders an event, and writes lines."""

    def __init__(self, stream: TextIO, render: Callable[[Fields], str]) -> None:
        self._stream = stream
        self._render = render
        self._lock = threading.Lock()

    def render(self, _logger: object, _method: str, event: Fields) -> str:
        try:
            return self._render(event)
        except Exception as error:  # noqa: BLE001  # a line that cannot be shown must not stop what it is about
            return json.dumps({"event": "log_line_unreadable", "reason": type(error).__name__})

    def write(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            try:
                self._stream.write(line + "\n")
            except UnicodeEncodeError as error:
                escaped = line.encode(error.encoding, "backslashreplace")
                self._stream.write(escaped.decode(error.encoding) + "\n")
            self._stream.flush()


class _Logger:
    """What structlog's bound loggers call at the end, with a finished line."""

    def __init__(self, name: str, write: Callable[[str], None]) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = self.msg = write


class _Handler(logging.Handler):
    """Brings the standard library's records into the pipeline.

    A library's warning may come with a traceback, for something that it goes on to handle; unless *verbose*,
    the error's text is enough.
    """

    def __init__(self, lines: _Lines, explain: Processor, *, verbose: bool) -> None:
        super().__init__()
        self._lines = lines
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[_stamp_record] if verbose else [_stamp_record, _shorten],
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
        except Exception as error:  # noqa: BLE001  # logging's own way is a traceback with all arguments
            lost = {"event": "log_line_unreadable", "logger": record.name, "reason": type(error).__name__}
            line = json.dumps(lost)
        self._lines.write(line)


def _stamp(logger: Any, method: str, event: Fields) -> Fields:
    return {
        "timestamp": format_ms(system_clock()),
        "level": method,
        "event": event.pop("event", ""),
        "logger": logger.name,
        **event,
    }


def _stamp_record(_logger: object, _method: str, event: Fields) -> Fields:
    record: logging.LogRecord = event["_record"]
    return {
        "timestamp": format_ms(int(record.created * 1000)),
        "level": record.levelname.lower(),
        "event": event.pop("event"),
        "logger": record.name,
        **event,
    }


def _shorten(_logger: object, _method: str, event: Fields) -> Fields:
    if event["_record"].levelno < logging.ERROR and (exc_info := event.pop("exc_info", None)):
        event["error"] = exc_info[1]
    return event


def _json_renderer(redactor: Redactor) -> Callable[[Fields], str]:
    def render(event: Fields) -> str:
        with contextlib.suppress(orjson.JSONEncodeError):
            line = orjson.dumps(event, default=redactor.redact, option=_JSON_OPTIONS).decode()
            if redactor.passes(line):
                return line
        plain = redactor.redact(event)
        try:
            return orjson.dumps(plain).decode()
        except orjson.JSONEncodeError:
            # Half a surrogate pair, as in a file name that is not UTF-8.
            return json.dumps(plain)

    return render


def _text_renderer(redactor: Redactor, *, colors: bool) -> Callable[[Fields], str]:
    console = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=24, sort_keys=False
    )

    def render(event: Fields) -> str:
        plain = redactor.redact(event)
        for name, value in plain.items():
            if isinstance(value, str):
                plain[name] = value.translate(_CONTROLS_IN_TRACEBACK if name == "exception" else _CONTROLS)
        return str(console(None, "", plain))

    return render

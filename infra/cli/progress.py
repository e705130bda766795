"""Progress of a deployment: a line for each event, or one moving line on a terminal."""

import shutil
import time
from collections.abc import Callable, Collection
from typing import Final, TextIO

from bot.text import count, escape, fit
from infra.deploy.stack_events import StackEvent

_CLEAR_LINE: Final = "\r\x1b[K"
_STACK: Final = "AWS::CloudFormation::Stack"
_TICK_S: Final = 0.5
# Some terminals wrap at the last column.
_SPARE_COLUMNS: Final = 1


class Progress:
    """Shows events on *stream*. ``expect`` sets the number of resources; ``finish`` clears the line."""

    def __init__(
        self, stream: TextIO, *, live: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._live = stream.isatty() if live is None else live
        self._clock = clock
        self._started = clock()
        self._total = 0
        self._done: set[str] = set()
        self._planned_ids: Collection[str] | None = None
        self._last = ""

    def expect(self, resources: int, planned_ids: Collection[str] | None = None) -> None:
        """Start again with so many *resources*; of others than *planned_ids*, only failures are shown."""
        self._total = resources
        self._planned_ids = planned_ids
        self._done.clear()
        self._started = self._clock()

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._started

    def __call__(self, event: StackEvent) -> None:
        """Show *event*: a failure always on a line of its own, the start of a resource never."""
        is_stack, failed = event.resource_type == _STACK, event.status.endswith("_FAILED")
        planned = is_stack or self._planned_ids is None or event.logical_id in self._planned_ids
        if not (planned or failed):
            return
        if event.status.endswith("_COMPLETE") and not is_stack:
            self._done.add(event.logical_id)
        reason = f": {escape(event.reason)}" if event.reason and failed else ""
        line = f"{event.status:<28}  {event.resource_type}  {escape(event.logical_id)}{reason}"
        if failed or (not self._live and (is_stack or not event.status.endswith("_IN_PROGRESS"))):
            self._write(f"{_CLEAR_LINE if self._live else ''}{line}\n")
        self._last = f"{escape(event.logical_id)} {event.status}"
        self._draw()

    def sleep(self, seconds: float) -> None:
        """Wait, and keep the displayed time up to date."""
        end = self._clock() + seconds
        while (left := end - self._clock()) > 0:
            self._draw()
            time.sleep(min(left, _TICK_S) if self._live else left)

    def finish(self) -> None:
        if self._live:
            self._write(_CLEAR_LINE)

    def _draw(self) -> None:
        if not self._live or not self._last:
            return
        minutes, seconds = divmod(int(self.elapsed_s), 60)
        done = len(self._done)
        of = f"{done} of {count(self._total, 'resource')}" if self._total >= done else count(done, "resource")
        width = shutil.get_terminal_size().columns - _SPARE_COLUMNS
        self._write(_CLEAR_LINE + f"{minutes}:{seconds:02}  {of}  {self._last}"[:width])

    def _write(self, text: str) -> None:
        self._stream.write(fit(text, self._stream.encoding or "ascii"))
        self._stream.flush()

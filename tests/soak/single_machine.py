"""Minutes on one machine: everything in the channel, in order, and the memory of both processes flat."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from infra.local.discord import StandIn
from tests.support.output import TOKEN
from tests.support.single_machine import Evening, Played, Sample

_PER_S = 6.0
"""Twice what Discord takes: five messages in two seconds."""
_GUILDS = 3
"""Each has a lane with one message in flight; together they are more than Discord takes."""
_LATE_S = 10.0
_GROWTH = 1.1
"""By how much memory may stray from one quarter of the last process's life to the next."""
_SHOWN_EVERY_S = 30.0
_ROW = "{:>5}  {:>8}  {:>8}  {:>8}  {:>9}  {:>16}"


async def soak_single_machine(minutes: float, seed: int, say: Callable[[str], None]) -> None:
    """Let people come and go for so long, kill the relay after a third of it, and show how it goes."""
    say(_ROW.format("s", "happened", "told", "messages", "relay MiB", "embedded AWS MiB"))
    due_s = 0.0

    def show(sample: Sample) -> None:
        nonlocal due_s
        if sample.at_s >= due_s:
            due_s += _SHOWN_EVERY_S
            say(_format(sample))

    kill_s = minutes * 20
    with tempfile.TemporaryDirectory() as directory:
        async with StandIn(token=TOKEN) as standin:
            evening = Evening(Path(directory), standin, guilds=_GUILDS, per_s=_PER_S, seed=seed)
            played = await evening.play(minutes * 60, ends={kill_s: "kill"}, say=show)
    say(
        f"{len(standin.sent)} transitions in {played.messages} messages, "
        f"{evening.webhook.answers[429]} answers 429; everything told {played.late_s:.1f} s after the last; "
        f"{played.repeated} messages repeated by the kill; {played.gaps} gaps; "
        f"SIGTERM took {played.stopped_s:.1f} s"
    )
    _check(played, [sample for sample in played.samples if sample.at_s > kill_s])


def _check(played: Played, last_life: Sequence[Sample]) -> None:
    found = played.comparison
    assert found.complete, "; ".join(found.describe())
    assert found.misplaced == 0, f"{found.misplaced} out of order"
    assert played.gaps == 0, f"{played.gaps} gaps"
    assert played.repeated <= _GUILDS, f"{played.repeated} messages repeated, with {_GUILDS} lanes"
    assert played.late_s < _LATE_S, f"everything told only {played.late_s:.0f} s after the last transition"
    third = last_life[len(last_life) // 2 : len(last_life) * 3 // 4]
    fourth = last_life[len(last_life) * 3 // 4 :]
    for name, before, after in (
        ("relay", _most(each.relay_bytes for each in third), _most(each.relay_bytes for each in fourth)),
        ("embedded AWS", _most(each.aws_bytes for each in third), _most(each.aws_bytes for each in fourth)),
    ):
        assert after <= before * _GROWTH, f"the {name} grows from {_mib(before)} to {_mib(after)} MiB"


def _most(sizes: Iterable[int | None]) -> int:
    return max(size or 0 for size in sizes)


def _format(sample: Sample) -> str:
    return _ROW.format(
        f"{sample.at_s:.0f}",
        sample.happened,
        sample.told,
        sample.messages,
        _mib(sample.relay_bytes),
        _mib(sample.aws_bytes),
    )


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.1f}"

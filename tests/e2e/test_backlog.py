"""A backlog streams from the disk, in order and with the memory of a small one; a million: ``make soak``."""

from pathlib import Path

from tests.support.backlog import drain_both


async def test_100_000_events_drain_in_order_with_the_memory_of_a_few(tmp_path: Path) -> None:
    few, many = await drain_both(tmp_path, 2_000, 100_000)
    print(few, many, sep="\n")  # noqa: T201  # shown where the test fails
    assert many.peak_rss_bytes < few.peak_rss_bytes * 1.25
    assert many.peak_rss_bytes < many.early_rss_bytes * 1.25

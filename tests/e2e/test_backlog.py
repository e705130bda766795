"""A large backlog streams from the disk; a million events: ``make soak``."""

from pathlib import Path

from tests.support.backlog import drain_both


async def test_large_backlog_drains_in_order(tmp_path: Path) -> None:
    """It takes no more memory than a small one."""
    few, many = await drain_both(tmp_path, 2_000, 100_000)
    print(few, many, sep="\n")  # noqa: T201  # shown where the test fails
    assert many.peak_rss_bytes < few.peak_rss_bytes * 1.25
    assert many.peak_rss_bytes < many.early_rss_bytes * 1.25

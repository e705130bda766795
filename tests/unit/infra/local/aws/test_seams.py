"""The hooks fit the ministack that is installed, and say so when they don't."""

import importlib.metadata

import pytest

from infra.local.aws.hooks import SEAMS
from infra.local.aws.hooks.seam import MINISTACK_VERSION, Seam, SeamChanged, check_version


def test_the_pinned_ministack_is_the_one_that_the_hooks_are_written_for() -> None:
    """Whoever raises the pin reads every hook again, then raises this."""
    check_version()
    pins = [line for line in importlib.metadata.requires("voice-relay") or () if line.startswith("ministack")]
    assert {pin.partition(";")[0].strip() for pin in pins} == {f"ministack=={MINISTACK_VERSION}"}


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.5.34")

    with pytest.raises(SeamChanged, match=r"1\.5\.34"):
        check_version()


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: f"{seam.module.rpartition('.')[2]}.{seam.name}")
def test_the_seam_is_as_it_was(seam: Seam) -> None:
    seam.check()


@pytest.mark.parametrize(
    ("seam", "reason"),
    [
        (Seam("ministack.services.sts", "no_such_function", ()), "has no no_such_function"),
        (Seam("ministack.services.sts", "register_session", ("access_key",)), "takes access_key, session"),
    ],
)
def test_a_seam_that_moved_is_refused(seam: Seam, reason: str) -> None:
    with pytest.raises(SeamChanged, match=reason):
        seam.check()

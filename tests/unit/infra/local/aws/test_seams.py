"""The hooks match the installed ministack, and refuse any other."""

import importlib
import importlib.metadata
import pkgutil

import pytest

from infra.local.aws import hooks
from infra.local.aws.hooks import SEAMS
from infra.local.aws.hooks.seam import MINISTACK_VERSION, Seam, SeamChanged, check_version


def test_hooks_match_pinned_version() -> None:
    """Raise the hooks' version only after reviewing every hook against the new ministack."""
    check_version()
    pins = [line for line in importlib.metadata.requires("voice-relay") or () if line.startswith("ministack")]
    assert {pin.partition(";")[0].strip() for pin in pins} == {f"ministack=={MINISTACK_VERSION}"}


def test_checks_seams_of_every_hook() -> None:
    """Every module of the package that declares seams has them in the list that is checked."""
    names = [f"{hooks.__name__}.{info.name}" for info in pkgutil.iter_modules(hooks.__path__)]
    declared = [seam for name in names for seam in getattr(importlib.import_module(name), "SEAMS", ())]
    assert set(declared) == set(SEAMS)


def test_refuses_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.5.34")

    with pytest.raises(SeamChanged, match=r"1\.5\.34"):
        check_version()


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: f"{seam.module.rpartition('.')[2]}.{seam.name}")
def test_seam_is_unchanged(seam: Seam) -> None:
    seam.check()


@pytest.mark.parametrize(
    ("seam", "reason"),
    [
        (Seam("ministack.services.sts", "no_such_function", ()), "has no no_such_function"),
        (Seam("ministack.services.sts", "register_session", ("access_key",)), "takes access_key, session"),
    ],
)
def test_refuses_changed_seam(seam: Seam, reason: str) -> None:
    with pytest.raises(SeamChanged, match=reason):
        seam.check()

"""Choosing destinations: the resulting names and the webhooks to write."""

import pydantic
import pytest

from bot.errors import SettingsError
from infra.deploy.destinations import (
    MAX_DESTINATIONS,
    DestinationChanges,
    Destinations,
    choose_destinations,
    parse_names,
)
from infra.deploy.engine import DeployError


def _url(name: str) -> pydantic.SecretStr:
    return pydantic.SecretStr(f"https://discord.test/{name}")


def _choose(changes: DestinationChanges, *, present: str = "default", held: str = "default") -> Destinations:
    return choose_destinations(changes, present=parse_names(present), held=parse_names(held))


def test_no_changes_keep_destinations() -> None:
    assert _choose(DestinationChanges(), present="default, mods", held="default,mods,extra") == Destinations(
        ("default", "mods"), {}
    )


def test_webhook_adds_destination() -> None:
    chosen = _choose(DestinationChanges(webhooks={"mods": _url("mods")}))

    assert chosen == Destinations(("default", "mods"), {"mods": "https://discord.test/mods"})


def test_reuses_webhook_in_secret() -> None:
    assert _choose(DestinationChanges(added=["mods"]), held="default,mods").names == ("default", "mods")


def test_finds_missing_webhook() -> None:
    assert _choose(DestinationChanges(added=["mods"], find=_url)).given == {
        "mods": "https://discord.test/mods"
    }


def test_finds_only_renewed_webhook() -> None:
    chosen = _choose(
        DestinationChanges(renewed=["default"], find=_url), present="default,mods", held="default,mods"
    )

    assert chosen.given == {"default": "https://discord.test/default"}


def test_removes_destination() -> None:
    chosen = _choose(DestinationChanges(removed=["mods"]), present="default,mods", held="default")

    assert chosen == Destinations(("default",), {})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (DestinationChanges(added=["mods"]), "destination mods has no webhook: .*--webhook-file mods=FILE"),
        (
            DestinationChanges(renewed=["default"]),
            "default needs its new webhook: .*--webhook-file default=",
        ),
    ],
)
def test_refuses_destination_without_webhook(changes: DestinationChanges, sentence: str) -> None:
    with pytest.raises(DeployError, match=sentence):
        _choose(changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (DestinationChanges(removed=["raid"]), "no destination raid; the stack has default$"),
        (DestinationChanges(renewed=["nope"], find=_url), "no destination nope; the stack has default$"),
        (DestinationChanges(removed=["default"]), "last destination cannot be removed"),
        (DestinationChanges(webhooks={"a-b": _url("x")}), "'a-b' is not a valid destination name"),
        (DestinationChanges(webhooks={"a" * 17: _url("x")}), "is not a valid destination name"),
        (
            DestinationChanges(webhooks={f"d{number}": _url("x") for number in range(MAX_DESTINATIONS)}),
            "51 destinations are too many",
        ),
    ],
)
def test_refuses_invalid_changes(changes: DestinationChanges, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        _choose(changes)


def test_refuses_renewal_before_first_deployment() -> None:
    with pytest.raises(SettingsError, match="no destination default; the relay is not deployed yet"):
        _choose(DestinationChanges(renewed=["default"], find=_url), present="", held="")


def test_removes_destination_only_in_secret() -> None:
    assert _choose(DestinationChanges(removed=["mods"]), held="default,mods").names == ("default",)


def test_first_deployment_gets_default() -> None:
    assert _choose(DestinationChanges(find=_url), present="", held="").names == ("default",)


def test_repr_hides_webhooks() -> None:
    chosen = _choose(DestinationChanges(webhooks={"mods": _url("t0ken")}))

    assert "t0ken" not in repr(chosen) + repr(DestinationChanges(webhooks={"mods": _url("t0ken")}))

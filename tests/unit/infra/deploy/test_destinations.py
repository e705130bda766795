"""Which destinations there are afterwards, and whose webhooks have to be written."""

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


def _choose(wishes: DestinationChanges, *, present: str = "default", held: str = "default") -> Destinations:
    return choose_destinations(wishes, present=parse_names(present), held=parse_names(held))


def test_no_wish_leaves_them_as_they_are() -> None:
    assert _choose(DestinationChanges(), present="default, mods", held="default,mods,extra") == Destinations(
        ("default", "mods"), {}
    )


def test_a_webhook_makes_a_destination() -> None:
    chosen = _choose(DestinationChanges(webhooks={"mods": _url("mods")}))

    assert chosen == Destinations(("default", "mods"), {"mods": "https://discord.test/mods"})


def test_one_that_the_secret_knows_needs_no_webhook() -> None:
    assert _choose(DestinationChanges(added=["mods"]), held="default,mods").names == ("default", "mods")


def test_asks_for_the_webhook_that_the_secret_does_not_know() -> None:
    assert _choose(DestinationChanges(added=["mods"], find=_url)).given == {
        "mods": "https://discord.test/mods"
    }


def test_asks_anew_for_one_that_is_renewed_and_for_no_other() -> None:
    chosen = _choose(
        DestinationChanges(renewed=["default"], find=_url), present="default,mods", held="default,mods"
    )

    assert chosen.given == {"default": "https://discord.test/default"}


def test_a_destination_can_go() -> None:
    chosen = _choose(DestinationChanges(removed=["mods"]), present="default,mods", held="default")

    assert chosen == Destinations(("default",), {})


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        (DestinationChanges(added=["mods"]), "destination mods has no webhook: .*--webhook-file mods=FILE"),
        (
            DestinationChanges(renewed=["default"]),
            "new webhook of default is needed: --webhook-file default=",
        ),
    ],
)
def test_what_lacks_a_webhook_is_refused_with_a_sentence(wishes: DestinationChanges, sentence: str) -> None:
    with pytest.raises(DeployError, match=sentence):
        _choose(wishes)


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        (DestinationChanges(removed=["raid"]), "no destination raid; the stack has default$"),
        (DestinationChanges(renewed=["nope"], find=_url), "no destination nope; the stack has default$"),
        (DestinationChanges(removed=["default"]), "there has to be a destination"),
        (DestinationChanges(webhooks={"a-b": _url("x")}), "'a-b' cannot be a destination's name"),
        (DestinationChanges(webhooks={"a" * 17: _url("x")}), "cannot be a destination's name"),
        (
            DestinationChanges(webhooks={f"d{number}": _url("x") for number in range(MAX_DESTINATIONS)}),
            "51 destinations are too many",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(wishes: DestinationChanges, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        _choose(wishes)


def test_no_webhook_can_be_renewed_before_there_is_a_relay() -> None:
    with pytest.raises(SettingsError, match="no destination default; there is no relay yet"):
        _choose(DestinationChanges(renewed=["default"], find=_url), present="", held="")


def test_one_that_is_only_in_the_secret_can_go_from_there() -> None:
    assert _choose(DestinationChanges(removed=["mods"]), held="default,mods").names == ("default",)


def test_the_first_relay_has_a_destination_by_default() -> None:
    assert _choose(DestinationChanges(find=_url), present="", held="").names == ("default",)


def test_no_webhook_is_shown_by_accident() -> None:
    chosen = _choose(DestinationChanges(webhooks={"mods": _url("t0ken")}))

    assert "t0ken" not in repr(chosen) + repr(DestinationChanges(webhooks={"mods": _url("t0ken")}))

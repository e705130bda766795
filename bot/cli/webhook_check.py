"""Asks Discord about a webhook before a command relies on it."""

from collections.abc import Callable

from pydantic import SecretStr

from bot.api.webhook import ask_webhook
from bot.errors import Rejected, SettingsError, TemporaryFailure


async def check_webhook(name: str, url: SecretStr, *, remedy: str, hint: Callable[[str], object]) -> None:
    """Raise SettingsError, with the *remedy*, if Discord refuses the webhook called *name*.

    That Discord cannot be asked is only a *hint*.
    """
    try:
        await ask_webhook(url)
    except Rejected as error:
        raise SettingsError([f"{name}: Discord refuses it: {error}; {remedy}"]) from None
    except TemporaryFailure as error:
        hint(f"{name} was not checked: {error}")

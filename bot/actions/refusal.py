"""Why an action was not done: a named error, which a workflow catches by ErrorEquals.

    Discord.MissingPermissions, .MissingAccess       the bot lacks a permission, or cannot see the place
    Discord.NotInVoice                               the person is in no voice channel, or in another
    Discord.UnknownChannel, .UnknownMember, …        what the action names does not exist (any more)
    Discord.CannotMessageUser                        the person takes no direct messages from the bot
    Discord.RateLimited                              Discord asks for a longer wait than an action may last
    Discord.Refused                                  another 4xx; the cause has Discord's words and code
    Discord.Unavailable                              5xx, or no connection, until the action's time was over
    Action.NotAllowed, .Unknown, .BadInput           the bot does not do this, whatever Discord would say
    Action.NotWatched                                the bot does not see the server now
    Action.Failed                                    a fault of the bot's; its log has more

A cause is for people: it has no token, no name and no text of a message.
"""

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json

from collections.abc import Mapping
from typing import Any, Final

from bot.api.quote import quote

NOT_IN_VOICE: Final = "Discord.NotInVoice"
UNKNOWN_MESSAGE: Final = "Discord.UnknownMessage"
RATE_LIMITED: Final = "Discord.RateLimited"
UNAVAILABLE: Final = "Discord.Unavailable"
NOT_ALLOWED: Final = "Action.NotAllowed"
UNKNOWN: Final = "Action.Unknown"
BAD_INPUT: Final = "Action.BadInput"
NOT_WATCHED: Final = "Action.NotWatched"
FAILED: Final = "Action.Failed"
_REFUSED: Final = "Discord.Refused"

_BY_CODE: Final[Mapping[int, str]] = {
    10003: "Discord.UnknownChannel",
    10004: "Discord.UnknownGuild",
    10007: "Discord.UnknownMember",
    10008: UNKNOWN_MESSAGE,
    10011: "Discord.UnknownRole",
    10013: "Discord.UnknownUser",
    10065: NOT_IN_VOICE,
    40032: NOT_IN_VOICE,
    50001: "Discord.MissingAccess",
    50007: "Discord.CannotMessageUser",
    50013: "Discord.MissingPermissions",
    50033: "Discord.UnknownUser",
    # No server in common with the person.
    50278: "Discord.CannotMessageUser",
}
_LOGIN_REFUSED: Final = "Discord refuses the bot token: see the bot's log"
_CHECK_URL: Final = "check VOICE_RELAY_DISCORD_API_URL"
_NO_CODE: Final = f"without a reason; {_CHECK_URL}"
_FIELDS_MAX: Final = 5


class ActionError(Exception):
    """The action was not done; ``name`` and ``cause`` go to the workflow."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"{name}: {cause}")
        self.name = name
        self.cause = cause


def explain_answer(status: int, answer: object) -> ActionError:
    """Return the error for Discord's answer to a request that it refused."""
    if status == 401:
        return ActionError(_REFUSED, _LOGIN_REFUSED)
    code = answer.get("code") if isinstance(answer, dict) else None
    if type(code) is not int or not isinstance(answer, dict):
        return ActionError(_REFUSED, f"Discord answered {status} {_NO_CODE}")
    words = quote(str(answer.get("message") or ""))
    fields = "; ".join(_find_problems(answer.get("errors"))[:_FIELDS_MAX])
    cause = f"Discord answered {status} ({code}): {words}" + (f" ({fields})" if fields else "")
    return ActionError(_BY_CODE.get(code, _REFUSED), cause)


def not_discord() -> ActionError:
    """Return the error for an answer that is none of Discord's."""
    return ActionError(UNAVAILABLE, f"something else answers in Discord's place: {_CHECK_URL}")


def _find_problems(errors: object, place: str = "") -> list[str]:
    """Return what Discord says of each field, which repeats no value."""
    if not isinstance(errors, dict):
        return []
    found: list[str] = []
    for name, below in errors.items():
        if name == "_errors" and isinstance(below, list):
            found += [f"{place}: {quote(_message(each))}" for each in below]
        else:
            found += _find_problems(below, f"{place}.{name}".lstrip("."))
    return found


def _message(error: Any) -> str:
    return str(error.get("message") or "") if isinstance(error, dict) else ""

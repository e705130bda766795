"""From a task's input to an action: what is refused before Discord is asked, and what breaks."""

import asyncio
from typing import Any, cast

import orjson
import pytest
from pydantic import SecretStr

from bot.actions.catalogue import ACTIONS
from bot.actions.people import People
from bot.actions.performer import ACTION_S, Performer
from bot.actions.refusal import ActionError, explain_answer
from bot.actions.rest import Rest, RestAnswer
from bot.voice.occupancy import GuildOccupancy, Occupant
from tests.support.virtual_time import run_virtually

SEND = {"action": "send", "key": "e:1", "channel_id": "1", "message": {"content": "x"}}
FIND = {"action": "find_person", "key": "e:1", "guild_id": "7", "user_id": "1"}
LIST = {"action": "list_channel", "key": "e:1", "guild_id": "7", "channel_id": "20"}


class Discord:
    """Answers every request with *answer*, or raises it; ``None`` never answers."""

    def __init__(self, answer: Any = None) -> None:
        self.requests: list[tuple[Any, ...]] = []
        self._answer = answer

    async def request(self, *request: Any, **_: Any) -> Any:
        self.requests.append(request)
        if isinstance(self._answer, Exception):
            raise self._answer
        if self._answer is None:
            await asyncio.sleep(10 * ACTION_S)
        return self._answer


def _perform(
    task: object, discord: Discord | None = None, *, allowed: Any = ACTIONS, guild: Any = None
) -> Any:
    people = People(lambda guild_id: guild if guild_id == "7" else None)
    performer = Performer(cast("Any", discord or Discord({"id": "5"})), people, allowed)
    text = task if isinstance(task, str) else orjson.dumps(task).decode()
    return run_virtually(performer.perform(text))


def _refused(task: object, discord: Discord | None = None, **given: Any) -> tuple[str, str]:
    with pytest.raises(ActionError) as refusal:
        _perform(task, discord, **given)
    return refusal.value.name, refusal.value.cause


def test_returns_output() -> None:
    assert _perform(SEND) == {"channel_id": "1", "message_id": "5"}


def test_does_only_what_is_allowed() -> None:
    discord = Discord({"id": "5"})

    name, cause = _refused(SEND, discord, allowed=("move", "edit"))

    assert (name, discord.requests) == ("Action.NotAllowed", [])
    assert cause == "add send to the bot's VOICE_RELAY_ACTIONS to allow it"


@pytest.mark.parametrize("name", ["ban", "", None, ["send"], {"send": 1}])
def test_unknown_action_lists_the_known(name: object) -> None:
    refused, cause = _refused(SEND | {"action": name})

    assert refused == "Action.Unknown"
    assert cause.endswith(", ".join(ACTIONS))


@pytest.mark.parametrize("text", ["", "null", "[]", '"send"', "{", "1"])
def test_input_is_an_object(text: str) -> None:
    assert _refused(text) == ("Action.BadInput", "the task's input is not a JSON object")


def test_action_has_its_time() -> None:
    assert _refused(SEND, Discord()) == ("Discord.Unavailable", "it was not done within 60 s")


def test_fault_is_an_error_of_its_own() -> None:
    name, cause = _refused(SEND, Discord(ZeroDivisionError("x")))

    assert (name, cause) == ("Action.Failed", "a fault of the bot's (ZeroDivisionError): see its log")


def test_impossible_button_is_bad_input() -> None:
    message = {"content": "x", "buttons": [{"label": "x", "signal": "a" * 30}]}

    name, cause = _refused(SEND | {"key": "x" * 80, "message": message})

    assert name == "Action.BadInput"
    assert cause == "message.buttons: the signal has 30 characters, and there is room for 12"


def _watched(**people: str) -> GuildOccupancy:
    guild = GuildOccupancy({"id": "7", "name": None}, watched=True)
    for number, (name, channel) in enumerate(people.items(), start=1):
        user = {"id": f"{number}", "name": name, "display_name": None, "bot": False}
        guild.put(Occupant(cast("Any", user), channel, None, 0))
    return guild


def test_knows_who_is_where() -> None:
    guild = _watched(nelly="20", tom="21", eve="20")

    assert _perform(FIND, guild=guild) == {"channel_id": "20"}
    assert _perform(FIND | {"user_id": "9"}, guild=guild) == {"channel_id": None}
    assert _perform(LIST, guild=guild) == {"user_ids": ["1", "3"]}
    assert _perform(LIST | {"channel_id": "99"}, guild=guild) == {"user_ids": []}


def test_unwatched_server_is_no_empty_one() -> None:
    name, _ = _refused(LIST)

    assert name == "Action.NotWatched"


def test_asks_discord_in_unwatched_server() -> None:
    discord = Discord({"channel_id": "20"})

    assert _perform(FIND, discord) == {"channel_id": "20"}
    assert discord.requests == [("GET", "/guilds/7/voice-states/1", None)]
    assert _perform(FIND, Discord({"channel_id": None})) == {"channel_id": None}
    assert _refused(FIND, Discord({}))[0] == "Discord.Unavailable"


def test_waits_for_server_after_start() -> None:
    looks = iter([None, None, _watched(nelly="20")])
    people = People(lambda _: next(looks))

    assert run_virtually(people.list("7", "20")) == ["1"]


@pytest.mark.parametrize("content", [None, [], "x"])
def test_captive_portal_is_not_discord(content: object) -> None:
    """It answers everything with 200, and nothing was done."""

    class Portal(Rest):
        async def _send(self, *_: object) -> RestAnswer:
            return RestAnswer(200, {}, content)

    mute = {"action": "mute", "key": "e:1", "guild_id": "7", "user_id": "1", "on": True}

    name, cause = _refused(mute, cast("Any", Portal("https://discord.invalid", SecretStr("a.b.c"))))

    assert name == "Discord.Unavailable"
    assert cause == "something else answers in Discord's place: check VOICE_RELAY_DISCORD_API_URL"


@pytest.mark.parametrize(
    ("status", "answer", "name", "cause"),
    [
        (
            403,
            {"code": 50013, "message": "Missing Permissions"},
            "Discord.MissingPermissions",
            "Missing Perm",
        ),
        (400, {"code": 99999, "message": "New"}, "Discord.Refused", "Discord answered 400 (99999): New"),
        (404, None, "Discord.Refused", "check VOICE_RELAY_DISCORD_API_URL"),
        (403, "<html>", "Discord.Refused", "Discord answered 403 without a reason"),
        (400, {"code": "x"}, "Discord.Refused", "Discord answered 400 without a reason"),
        (400, {"code": 50035, "errors": ["x"]}, "Discord.Refused", "Discord answered 400 (50035)"),
        (302, None, "Discord.Refused", "Discord answered 302"),
    ],
)
def test_refusals_have_names(status: int, answer: object, name: str, cause: str) -> None:
    error = explain_answer(status, answer)

    assert error.name == name
    assert cause in error.cause


def test_cause_names_fields() -> None:
    fields = {"content": {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be shorter."}]}}
    error = explain_answer(400, {"code": 50035, "message": "Invalid Form Body", "errors": fields})

    assert error.cause == "Discord answered 400 (50035): Invalid Form Body (content: Must be shorter.)"

"""The REST routes that answer interactions; the token in the path is what lets a request in."""

# https://docs.discord.com/developers/interactions/receiving-and-responding

from infra.local.discord.chat import Chat, Message, build_message
from infra.local.discord.door import Call, Handle
from infra.local.discord.interactions import CALLBACK_S, TOKEN_S, Interactions, Press
from infra.local.discord.message_validation import EPHEMERAL, check_bot_message, check_visible
from infra.local.discord.payloads import Json
from infra.local.discord.refusal import refuse, refuse_form
from infra.local.discord.world import World

_MESSAGE, _DEFERRED_MESSAGE, _DEFERRED_UPDATE, _UPDATE = 4, 5, 6, 7


class InteractionRest:
    def __init__(self, *, world: World, chat: Chat, interactions: Interactions, application_id: str) -> None:
        self._world = world
        self._chat = chat
        self._interactions = interactions
        self._application_id = application_id

    def build_handlers(self) -> dict[str, Handle]:
        # The application's own id, so that the routes of webhooks stay theirs.
        own = f"/webhooks/{self._application_id}/{{token}}"
        one = f"{own}/messages/{{message}}"
        return {
            "POST /interactions/{id}/{token}/callback": self._call_back,
            f"POST {own}": self._follow_up,
            one: lambda call: self._build(self._find_answer(call)),
            f"PATCH {one}": self._edit,
            f"DELETE {one}": self._delete,
        }

    def _call_back(self, call: Call) -> Json | None:
        press = self._find(call.params["token"])
        if press is None or press.id != call.params["id"]:
            raise refuse(10062)
        if press.callback is not None:
            raise refuse(40060)
        if call.at - press.at > CALLBACK_S:
            raise refuse(10062)
        kind = call.body.get("type") if isinstance(call.body, dict) else None
        data = (call.body.get("data") if isinstance(call.body, dict) else None) or {}
        if kind not in (_MESSAGE, _DEFERRED_MESSAGE, _DEFERRED_UPDATE, _UPDATE):
            raise refuse_form("type", "BASE_TYPE_CHOICES", "Value must be one of (4, 5, 6, 7).")
        check_bot_message(data, of_interaction=True, partial=kind != _MESSAGE)
        press.callback = kind
        press.thinking = kind == _DEFERRED_MESSAGE
        if kind in (_MESSAGE, _DEFERRED_MESSAGE):
            press.answers.append(self._say(press, data))
        else:
            if kind == _UPDATE:
                self._chat.edit(press.message, data)
            press.answers.append(press.message)
        return (
            self._build_callback(press) if call.query.get("with_response") in ("1", "true", "True") else None
        )

    def _build_callback(self, press: Press) -> Json:
        # https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-callback
        answer = press.answers[0]
        interaction = {
            "id": press.id,
            "type": press.payload["type"],
            "response_message_id": answer.id,
            "response_message_loading": press.thinking,
            "response_message_ephemeral": answer.ephemeral,
        }
        return {
            "interaction": interaction,
            "resource": {"type": press.callback, "message": self._build(answer)},
        }

    def _say(self, press: Press, data: Json) -> Message:
        ephemeral = bool((data.get("flags") or 0) & EPHEMERAL)
        return self._chat.say(self._world.bot, press.message.channel_id, data, ephemeral=ephemeral)

    def _follow_up(self, call: Call) -> Json:
        press = self._find_acknowledged(call)
        body = check_bot_message(call.body, of_interaction=True)
        if press.thinking:
            # The first follow-up takes the place of "thinking", and is as private as that.
            press.thinking = False
            self._chat.edit(press.answers[0], body)
            return self._build(press.answers[0])
        press.answers.append(self._say(press, body))
        return self._build(press.answers[-1])

    def _edit(self, call: Call) -> Json:
        press, answer = self._find_acknowledged(call), self._find_answer(call)
        changes = check_bot_message(call.body, of_interaction=True, partial=True)
        # Whether it is private was said when it was promised.
        flags = {"flags": answer.body["flags"]} if "flags" in answer.body else {}
        check_visible(answer.body | changes)
        press.thinking = press.thinking and answer is not press.answers[0]
        self._chat.edit(answer, {**changes, **flags})
        return self._build(answer)

    def _delete(self, call: Call) -> None:
        press, answer = self._find_acknowledged(call), self._find_answer(call)
        press.thinking = press.thinking and answer is not press.answers[0]
        self._chat.delete(answer)

    def _find(self, token: str) -> Press | None:
        return next((press for press in self._interactions.presses if press.token == token), None)

    def _find_acknowledged(self, call: Call) -> Press:
        press = self._find(call.params["token"])
        if press is None or call.at - press.at > TOKEN_S:
            raise refuse(50027)
        if press.callback is None:
            raise refuse(10015)
        return press

    def _find_answer(self, call: Call) -> Message:
        press = self._find_acknowledged(call)
        wanted = call.params["message"]
        for i, answer in enumerate(press.answers):
            if (answer.id == wanted or (wanted == "@original" and i == 0)) and not answer.deleted:
                return answer
        raise refuse(10008)

    def _build(self, message: Message) -> Json:
        return build_message(message, webhook_id=self._application_id)

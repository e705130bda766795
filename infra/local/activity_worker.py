"""Takes the bot's place as the worker of the relay's activity: writes down what was asked, and answers.

What the bot would refuse unread is refused with the bot's own words: an unknown action, or a wrong input.
"""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from bot.actions.asked import parse_asked
from bot.actions.catalogue import ACTIONS
from bot.actions.refusal import UNKNOWN, ActionError
from infra.local.aws import EmbeddedAws

_MESSAGE: Final = {"channel_id": "127121515262115842", "message_id": "127121515262115843"}
# What the bot answers to each action; where nothing is named, {}.
_ANSWERS: Final[Mapping[str, Any]] = {
    "find_person": {"channel_id": "127121515262115840"},
    "list_channel": {"user_ids": []},
    "move": {"channel_id": "127121515262115841"},
    "send": _MESSAGE,
    "edit": _MESSAGE,
    "direct_message": _MESSAGE,
}


class ActivityWorker:
    """Answers each action from *answers*, else as if all went well.

    An exception there is the action's error, such as ``RuntimeError("Discord.MissingPermissions")``.
    """

    def __init__(
        self,
        aws: EmbeddedAws,
        activity_arn: str,
        on_action: Callable[[dict[str, Any]], None],
        answers: Mapping[str, Any],
    ) -> None:
        self._states = aws.client("stepfunctions")
        self._activity_arn = activity_arn
        self._on_action = on_action
        self._answers = answers
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        # A poll lasts for a minute; it ends with the embedded AWS.
        self._stopping.set()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                task = self._states.get_activity_task(activityArn=self._activity_arn)
                if task.get("taskToken"):
                    self._answer(task["taskToken"], json.loads(task["input"]))
            except Exception:
                # The embedded AWS has gone, with whoever waits for the answer.
                if self._stopping.is_set():
                    return
                raise

    def _answer(self, token: str, asked: dict[str, Any]) -> None:
        try:
            answer = self._perform(asked)
        except ActionError as error:
            self._states.send_task_failure(taskToken=token, error=error.name, cause=error.cause)
        else:
            self._states.send_task_success(taskToken=token, output=json.dumps(answer))

    def _perform(self, asked: dict[str, Any]) -> Any:
        name = str(asked.get("action"))
        if name not in ACTIONS:
            raise ActionError(UNKNOWN, f"there is no action {name}; there are {', '.join(ACTIONS)}")
        parse_asked(ACTIONS[name].asked, asked)
        self._on_action(asked)
        answer = self._answers.get(name, _ANSWERS.get(name, {}))
        if isinstance(answer, Exception):
            raise ActionError(str(answer), "from the test")
        return answer

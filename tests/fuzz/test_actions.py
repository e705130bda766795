"""Whatever a workflow hands over, and whatever answers in Discord's place: an output, or an error by name."""

import json
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import hypothesis.strategies as st
from hypothesis import given, settings
from pydantic import SecretStr

from bot.actions.catalogue import ACTIONS, Output
from bot.actions.people import People
from bot.actions.performer import Performer
from bot.actions.refusal import FAILED, ActionError
from bot.actions.rest import Rest, RestAnswer
from tests.support.virtual_time import run_virtually

_TEXT: Final = st.text(max_size=30)
_LEAVES: Final = st.none() | st.booleans() | st.integers(-5, 1 << 64) | st.floats() | _TEXT | st.just("7")
_KEYS: Final = st.sampled_from(
    [
        *("id", "code", "message", "errors", "_errors", "retry_after", "global", "content", "embeds"),
        *("buttons", "label", "signal", "style", "fields", "mention_users", "title", "url"),
    ]
)
_VALUES: Final = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS | _TEXT, inner, max_size=5)
)
_TASKS: Final = st.fixed_dictionaries(
    {"action": st.sampled_from([*ACTIONS, "ban"]) | _VALUES},
    optional={
        name: st.just("7") | _VALUES
        for name in sorted({name for action in ACTIONS.values() for name in action.asked.model_fields})
        if name != "action"
    },
)
_HEADERS: Final = st.dictionaries(
    st.sampled_from(["Retry-After", "X-RateLimit-Remaining", "X-RateLimit-Reset-After", "X-RateLimit-Scope"]),
    st.sampled_from(["0", "1", "-1", "nan", "inf", "1e99", "soon", "shared"]),
)
_STATUSES: Final = st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 503, 999])
_ANSWERS: Final = st.builds(RestAnswer, _STATUSES, _HEADERS, _VALUES)
_GIVEN: Final[Mapping[str, Any]] = {
    "message": {"content": "x", "buttons": [{"label": "x", "signal": "admit"}]},
    "on": True,
}


class _AnsweredRest(Rest):
    """Gets *answers*, one for each request, and the last for all others."""

    def __init__(self, answers: list[RestAnswer]) -> None:
        super().__init__("https://discord.invalid", SecretStr("a.b.c"))
        self._answers = answers

    async def _send(self, *_: object) -> RestAnswer:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def _perform(text: str, answers: list[RestAnswer]) -> None:
    performer = Performer(_AnsweredRest(answers), People(lambda _: None), ACTIONS)
    end = run_virtually(_end_of(performer.perform(text)))
    if isinstance(end, ActionError):
        assert end.name != FAILED, end.cause
        assert end.cause.isprintable()
        assert len(end.cause) < 3000
    else:
        assert json.loads(json.dumps(end)) == end


async def _end_of(performing: Coroutine[Any, Any, Output]) -> Output | ActionError:
    try:
        return await performing
    except ActionError as error:
        return error


@given(_TASKS | _VALUES)
def test_tasks_are_done_or_refused(task: object) -> None:
    _perform(json.dumps(task), [RestAnswer(200, {}, {"id": "5"})])


@given(st.sampled_from(list(ACTIONS)), st.lists(_ANSWERS, min_size=1, max_size=4))
@settings(max_examples=max(50, settings().max_examples // 2))
def test_answers_are_taken_or_refused(name: str, answers: list[RestAnswer]) -> None:
    fields = ACTIONS[name].asked.model_fields
    task = {field: _GIVEN.get(field, "7") for field, each in fields.items() if each.is_required()}

    _perform(json.dumps(task | {"action": name, "key": "e:1"}), answers)

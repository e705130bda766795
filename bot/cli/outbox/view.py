"""Views that commands share: ``render_*`` for people, in local time; ``describe_*`` for programs, in UTC."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from bot.outbox.records import Flight, Letter, Waiting
from bot.routing.lane import Lane
from bot.text import render_moment, render_span, time_for_machine

_DEPTH_MAX: Final = 100
"""JSON that is nested deeper is shown as it stands; no event is."""


def render_lane(lane: Lane) -> str:
    return f"workflow {lane.workflow}, guild {lane.guild_id}"


def render_progress(flight: Flight, now_ms: int) -> str:
    """Return since when the end of a batch's execution is awaited; its last error before it is accepted."""
    if flight.accepted_ms is not None:
        return f"accepted {render_span(now_ms - flight.accepted_ms)} ago; its end is awaited"
    return render_failure(flight, now_ms)


def render_failure(flight: Flight, now_ms: int) -> str:
    """Return the last error of a batch and how long ago it was; a hyphen if there was none."""
    if flight.last_attempt_ms is None:
        return "-"
    return f"{flight.last_error} ({render_span(now_ms - flight.last_attempt_ms)} ago)"


def terms_facts(parameters: str | None, signal: str | None) -> list[tuple[str, str]]:
    """Return what an event's rule hands over, and the signal that it goes as, where there are any."""
    facts = [("parameters", parameters), ("signal", signal)]
    return [(name, fact) for name, fact in facts if fact is not None]


def render_signal(signal: str, target: str | None) -> str:
    return f"{signal}, to the execution {target}" if target else f"{signal}, to none: none was started for it"


def letter_facts(letter: Letter, now_ms: int) -> list[tuple[str, str]]:
    """Return what happened to the event of a dead letter, and whether it will be redriven."""
    return [
        ("died", render_moment(letter.died_ms, now_ms)),
        ("reason", letter.reason),
        ("execution", f"{letter.execution}, refused" if letter.execution else "none: it was never sent"),
        ("redrive", "marked" if letter.redrive else "not marked"),
        *terms_facts(letter.parameters, letter.signal),
    ]


def type_of(body: str) -> str:
    return str(read_event(body).get("type", "-"))


def read_event(body: str) -> Mapping[str, Any]:
    """Return the event in *body*; empty if there is none."""
    event = parse_body(body)
    return event if isinstance(event, dict) else {}


def parse_body(body: str) -> Any:
    """Return the JSON in *body*; *body* itself if it is not JSON, or is nested too deep to be printed."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    return body if _is_deeper(value, _DEPTH_MAX) else value


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def describe_flight(flight: Flight) -> dict[str, Any]:
    return {
        **describe_lane(flight.lane),
        "execution": flight.execution,
        "events": flight.events,
        "begun": time_for_machine(flight.created_ms),
        "failed_attempts": flight.attempts,
        "last_attempt": None if flight.last_attempt_ms is None else time_for_machine(flight.last_attempt_ms),
        "last_error": flight.last_error,
        "execution_arn": flight.arn,
        "accepted": None if flight.accepted_ms is None else time_for_machine(flight.accepted_ms),
        "signal": flight.signal,
        "signalled_execution": flight.target,
    }


def describe_letter(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.letter_id,
        **describe_lane(letter.lane),
        "destination": letter.destination,
        "event_id": letter.event_id,
        "died": time_for_machine(letter.died_ms),
        "reason": letter.reason,
        "execution": letter.execution,
        "redrive": letter.redrive,
        **_describe_terms(letter.parameters, letter.signal),
        "event": parse_body(letter.body),
    }


def describe_waiting(event: Waiting) -> dict[str, Any]:
    return {
        **describe_lane(event.lane),
        "destination": event.destination,
        "event_id": event.event_id,
        "committed": time_for_machine(event.entered_ms),
        "execution": event.execution,
        **_describe_terms(event.parameters, event.signal),
        "event": parse_body(event.body),
    }


def _describe_terms(parameters: str | None, signal: str | None) -> dict[str, Any]:
    return {"parameters": parse_body(parameters or "{}"), "signal": signal}


def describe_lane(lane: Lane) -> dict[str, str]:
    return {"workflow": lane.workflow, "guild_id": lane.guild_id}

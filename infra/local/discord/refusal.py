"""Discord's refusals: an HTTP status, and a body with a code and a message."""

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json

from typing import Any

Json = dict[str, Any]


class Refused(Exception):
    """End a request with *status* and *body*."""

    def __init__(self, status: int, body: Json, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(body.get("message")))
        self.status = status
        self.body = body
        self.headers = headers or {}


_REFUSALS: dict[int, tuple[int, str]] = {
    10003: (404, "Unknown Channel"),
    10004: (404, "Unknown Guild"),
    10007: (404, "Unknown Member"),
    10008: (404, "Unknown Message"),
    10011: (404, "Unknown Role"),
    10013: (404, "Unknown User"),
    10015: (404, "Unknown Webhook"),
    10062: (404, "Unknown interaction"),
    10065: (404, "Unknown Voice State"),
    40032: (400, "Target user is not connected to voice."),
    40060: (400, "Interaction has already been acknowledged."),
    50001: (403, "Missing Access"),
    50005: (403, "Cannot edit a message authored by another user"),
    50006: (400, "Cannot send an empty message"),
    50007: (403, "Cannot send messages to this user"),
    50008: (400, "Cannot send messages in a non-text channel"),
    50013: (403, "Missing Permissions"),
    50024: (400, "Cannot execute action on this channel type"),
    50027: (401, "Invalid Webhook Token"),
    50028: (400, "Invalid role"),
    50033: (400, "Invalid Recipient(s)"),
    50109: (400, "The request body contains invalid JSON."),
}


def refuse(code: int) -> Refused:
    """Build the refusal with Discord's JSON error code *code*."""
    status, message = _REFUSALS[code]
    return Refused(status, {"message": message, "code": code})


def refuse_form(place: str, code: str, message: str) -> Refused:
    """Build the refusal of one field of a body; *place* has dots between its parts."""
    errors: Json = {"_errors": [{"code": code, "message": message}]}
    for part in reversed(place.split(".")):
        errors = {part: errors}
    return Refused(400, {"message": "Invalid Form Body", "code": 50035, "errors": errors})

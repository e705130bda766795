"""Checks of what leaves AWS: posts through the proxy, calls through a connection, and what arrives."""

import json
from collections.abc import Mapping
from typing import Any, Final

from infra.verify.check import Check, Seen, Skipped
from infra.verify.removal import BIN, CALL
from infra.verify.site import SUCCEEDED, Site, started

_NO_BIN: Final = "give an address that answers with what it received, with --request-bin"
_NO_WEBHOOK: Final = "give a webhook with --webhook-file"
_INVOKE: Final = "https://docs.aws.amazon.com/step-functions/latest/dg/connect-api-gateway.html"
_MAPPING: Final = (
    "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-parameter-mapping.html"
)
_CALLS: Final = "https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html"
_CONNECTIONS: Final = "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-target-connection.html"


class _NotAnEcho(ValueError):
    """The request bin does not answer with the headers that it received."""


def _require_bin(site: Site) -> None:
    if not site.has_bin:
        raise Skipped(_NO_BIN)


def _read_headers(ended: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that the bin received, names in lower case; raises ValueError."""
    if ended["status"] != SUCCEEDED:
        raise ValueError(f"{ended['status']} {ended.get('error')}: {ended.get('cause')}")
    body = json.loads(ended["output"])["ResponseBody"]
    headers = body.get("headers") if isinstance(body, dict) else None
    if not isinstance(headers, dict):
        raise _NotAnEcho('the request bin does not answer {"headers": {...}}')
    return {name.lower(): value if isinstance(value, str) else str(value) for name, value in headers.items()}


def _posted(site: Site, path: str) -> dict[str, str]:
    _require_bin(site)
    return _read_headers(site.finish(site.probe("post", path=path)))


def _called(site: Site) -> dict[str, str]:
    _require_bin(site)
    return _read_headers(site.finish(started(site.start(CALL, {}))))


def _with_slash(site: Site) -> Seen:
    _posted(site, f"/destinations/{BIN}")
    return Seen(True, "it arrives")


def _without_slash(site: Site) -> Seen:
    _posted(site, f"destinations/{BIN}")
    return Seen(True, "it arrives")


def _user_agent_of_post(site: Site) -> Seen:
    agent = _posted(site, f"/destinations/{BIN}").get("user-agent", "none")
    return Seen(agent.startswith("DiscordBot ("), agent)


def _signature_of_post(site: Site) -> Seen:
    names = _posted(site, f"/destinations/{BIN}").keys()
    found = sorted(name for name in names if name == "authorization" or name.startswith("x-amz-"))
    return Seen("authorization" in found and "x-amz-date" in found, ", ".join(found) or "neither")


def _user_agent_of_call(site: Site) -> Seen:
    agent = _called(site).get("user-agent", "none")
    return Seen(agent == f"Amazon|StepFunctions|HttpInvoke|{site.account.region}", agent)


def _range_of_call(site: Site) -> Seen:
    found = _called(site).get("range", "none")
    return Seen(found == "bytes=0-262144", found)


def _connection(site: Site) -> Seen:
    _require_bin(site)
    name = site.workflows[BIN]["ConnectionArn"].split("/")[1]
    state = site.account.client("events").describe_connection(Name=name)["ConnectionState"]
    return Seen(state == "AUTHORIZED", state)


def _reported(site: Site) -> Seen:
    _require_bin(site)
    ended = site.finish(site.start_sample("report", parameters={"format": "flat"}))
    return Seen(ended["status"] == SUCCEEDED, f"{ended['status']} {ended.get('error', '')}".rstrip())


def _notified(site: Site, workflow: str) -> Seen:
    if not site.has_webhook:
        raise Skipped(_NO_WEBHOOK)
    ended = site.finish(site.start_sample(workflow), timeout_s=120)
    return Seen(ended["status"] == SUCCEEDED, f"{ended['status']} {ended.get('error', '')}".rstrip())


CHECKS: Final = (
    Check("post whose Path begins with a slash", "it arrives", _with_slash, _INVOKE),
    Check("post whose Path begins without one", "it arrives", _without_slash, _INVOKE),
    Check("User-Agent of a post", "DiscordBot (...)", _user_agent_of_post, _MAPPING),
    Check("signature of a post, at its target", "authorization, x-amz-date (assumed)", _signature_of_post),
    Check("User-Agent of a call", "Amazon/StepFunctions/HttpInvoke/REGION", _user_agent_of_call, _CALLS),
    Check("Range of a call", "bytes=0-262144", _range_of_call, _CALLS),
    Check("state of the connection", "AUTHORIZED", _connection, _CONNECTIONS),
    Check("workflow report", SUCCEEDED, _reported),
    Check("workflow notify", SUCCEEDED, lambda site: _notified(site, "notify")),
    Check("workflow digest", SUCCEEDED, lambda site: _notified(site, "digest")),
)

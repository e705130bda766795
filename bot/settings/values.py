"""The values that each setting may have: pure.

A check refuses a value with a ValueError, and the message is then the setting's line in ``EXPECTED``; or with
``explained`` and a message of its own. No message repeats the value: it may be a token in the wrong variable.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

_DISCORD_HOSTS: Final = frozenset({"discord.com", "ptb.discord.com", "canary.discord.com", "discordapp.com"})
_EXECUTE_API: Final = re.compile(r"[a-z0-9]+\.execute-api\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")

ACTIONS: Final = (
    *("find_person", "list_channel", "move", "disconnect", "mute", "deafen", "add_role", "remove_role"),
    *("send", "edit", "delete", "direct_message"),
)
"""What the bot can do in Discord for a workflow; ``bot.actions.catalogue`` says how."""
_ACTIVITY: Final = re.compile(
    r"arn:[a-z-]+:states:(?P<region>[a-z0-9-]+):\d{12}:activity:[\w.-]{1,80}", re.ASCII
)

EXPECTED: Final = {
    "discord_token": "must be the bot's token alone, without spaces or quotes",
    "discord_api_url": (
        "must be an https URL like https://discord.com/api/v10, without query and user; "
        "plain http is allowed only to this machine"
    ),
    "api_endpoint": (
        "must be the https URL of the ingress API (the stack's output ApiEndpoint), without query and user; "
        "plain http is allowed only to this machine"
    ),
    "aws_region": "must be the name of a region, like eu-central-1",
    "webhook_url": (
        "must be a Discord webhook like https://discord.com/api/webhooks/<id>/<token>: "
        "copy it from the channel's settings, under Integrations"
    ),
    "data_dir": "must be the path of a directory",
    "rules_file": "must be the path of a TOML file",
    "workflows": "must be names of workflows separated by commas, like audit,stats",
    "workflows_dir": "must be the path of a directory",
    "connections_file": "must be the path of a TOML file",
    "destinations": "must be names of destinations separated by commas, like default,mods",
    "actions": "must be names of actions separated by commas, like send,edit,move",
    "activity_arn": "must be the ARN of an activity (the stack's output ActionsActivityArn)",
    "batch_max_events": "must be a whole number from 1 to 1000",
    "max_event_age_s": "must be a number of seconds, more than 0",
    "outbox_max_bytes": "must be a number of bytes, 1048576 (1 MiB) or more",
    "outbox_synchronous": "must be full or normal",
    "receipts_kept_s": "must be a number of seconds, 0 or more",
    "ops_host": "must be an address of this machine, like 127.0.0.1 or 0.0.0.0",
    "ops_port": "must be a port from 0 to 65535; 0 picks a free one, empty turns the ops server off",
    "polls_per_s": "must be a number from 0.1 to 1000, or 0 to follow no execution",
    "heartbeat_s": "must be a number of seconds, 1 or more, or 0 for none",
    "log_format": "must be auto, json or text",
    "log_level": "must be debug, info, warning, error or critical",
    "shutdown_grace_s": "must be a number of seconds, 0 or more",
    "shard_ids": "must be different whole numbers separated by commas, like 0,1,2",
    "shard_count": "must be a whole number, 1 or more, and greater than every one in VOICE_RELAY_SHARD_IDS",
}

WEBHOOK_MISSING: Final = (
    "is not set, nor is VOICE_RELAY_API_ENDPOINT: set the endpoint to use a stack on AWS, "
    "or the webhook to run everything on this machine"
)

WEBHOOK_REMEDY: Final = (
    "set VOICE_RELAY_WEBHOOK_URL to the URL of a webhook that exists (the channel's settings, Integrations)"
)

EXPLAINED: Final = "explained"
"""The type of pydantic's error where the message is the check's own."""


def explained(text: str) -> PydanticCustomError:
    return PydanticCustomError(EXPLAINED, "{text}", {"text": text})


def parse_token(value: object) -> object:
    # A token copied from a header includes the scheme.
    return re.sub(r"^Bot(\s+|$)", "", value.strip()) if isinstance(value, str) else value


def check_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[^\s\"']+", value.get_secret_value()):
        raise ValueError
    return value


def check_url(value: str) -> str:
    """Return *value*, a URL to append paths to, without a slash at the end."""
    url = value.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError
    if parts.username is not None or re.search(r"[\s?#]", url):
        raise ValueError
    return url


def check_private_url(value: str) -> str:
    """Return *value* as ``check_url`` does, a URL that secrets are sent to: https, or on this machine."""
    url = check_url(value)
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname):
        raise ValueError
    return url


def check_endpoint(value: str | None) -> str | None:
    return None if value is None else check_private_url(value)


def _is_loopback(host: str | None) -> bool:
    """Tell whether *host* is a loopback address or name; a name that only resolves to one does not count."""
    # https://www.rfc-editor.org/rfc/rfc6761#section-6.3
    if host is None or host == "localhost" or host.endswith(".localhost"):
        return host is not None
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_region(value: str | None, info: ValidationInfo) -> str | None:
    if value is None:
        return None
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d+", value):
        raise ValueError
    named = region_of(info.data.get("api_endpoint") or "")
    if named not in {None, value}:
        raise explained("is not the region in VOICE_RELAY_API_ENDPOINT: leave it unset")
    return value


def require_webhook(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    """Return *value*, which may be missing only if there is an endpoint."""
    # A refused endpoint is absent here rather than None, and has a problem of its own.
    if value is None and info.data.get("api_endpoint", "") is None:
        raise explained(WEBHOOK_MISSING)
    return value


def check_webhook(value: SecretStr | None) -> SecretStr | None:
    if value is None:
        return None
    url = check_url(value.get_secret_value())
    parts = urlsplit(url)
    discord = parts.scheme == "https" and parts.hostname in _DISCORD_HOSTS and parts.port is None
    if not (discord or _is_loopback(parts.hostname)):
        raise ValueError
    if not re.fullmatch(r"/api(/v\d+)?/webhooks/\d+/[\w-]+", parts.path, re.ASCII):
        raise ValueError
    return SecretStr(url)


def check_polls(value: float) -> float:
    if 0 < value < 0.1:
        raise ValueError
    return value


def check_heartbeat(value: float) -> float:
    if 0 < value < 1:
        raise ValueError
    return value


def check_host(value: str) -> str:
    if re.search(r"[\s/]", value):
        raise ValueError
    return value


def parse_port(value: object) -> object:
    return None if value == "" else value


def parse_word(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def parse_shard_ids(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


def parse_names(value: object) -> object:
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def check_names(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in value):
        raise ValueError
    return value


def check_actions(value: tuple[str, ...]) -> tuple[str, ...]:
    if not set(value) <= set(ACTIONS):
        raise explained(f"names an action that does not exist: there are {', '.join(ACTIONS)}")
    return value


def check_activity(value: str | None, info: ValidationInfo) -> str | None:
    """Return *value*, which may be missing only without actions, or without an endpoint."""
    endpoint = info.data.get("api_endpoint")
    if value is None:
        if endpoint is not None and info.data.get("actions"):
            raise explained(
                "is not set, but VOICE_RELAY_ACTIONS is: voice-relay deploy --parameter Actions=true writes "
                "it, or take it from the stack's output ActionsActivityArn"
            )
        return None
    found = _ACTIVITY.fullmatch(value)
    if found is None:
        raise ValueError
    if endpoint is not None and region_of(endpoint) not in {None, found["region"]}:
        raise explained("is not in the region of VOICE_RELAY_API_ENDPOINT: take both from the same stack")
    return value


def check_shard_ids(value: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if value is not None and (not value or min(value) < 0 or len(set(value)) != len(value)):
        raise ValueError
    return value


def check_shard_count(value: int | None, info: ValidationInfo) -> int | None:
    if "shard_ids" not in info.data:
        return value
    ids = info.data["shard_ids"]
    if ids is not None and value is None:
        raise explained("is not set, but VOICE_RELAY_SHARD_IDS is: set both or neither")
    if ids is None and value is not None:
        raise explained("is set, but VOICE_RELAY_SHARD_IDS is not: set both or neither")
    if ids is not None and value is not None and max(ids) >= value:
        raise ValueError
    return value


def region_of(endpoint: str) -> str | None:
    """Return the region in the host name of an API on AWS; ``None`` for any other URL."""
    found = _EXECUTE_API.fullmatch(urlsplit(endpoint).hostname or "")
    return found.group(1) if found else None

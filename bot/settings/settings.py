"""The settings: their names, types, defaults and descriptions; and how to load them.

Every name begins with ``VOICE_RELAY_``. All problems are reported at once, each in a sentence that names the
variable and the remedy but never repeats the value: it may be a token in the wrong variable.

To add a setting, enter it in ``Settings``, in ``EXPECTED`` (``values``), in ``.env.example``, in the README
and in ``test_defaults``.
"""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import ErrorDetails
from pydantic_settings import NoDecode
from pydantic_settings import SettingsError as SourceError

from bot.errors import SettingsError
from bot.settings.aws_keys import find_broken_keys
from bot.settings.repeated_keys import find_repeated_keys
from bot.settings.sources import (
    ENV_FILE,
    PREFIX,
    SECRETS_DIR_VARIABLE,
    SourcedSettings,
    check_files,
    find_names,
    find_secrets_dir,
)
from bot.settings.values import (
    EXPECTED,
    EXPLAINED,
    check_actions,
    check_activity,
    check_endpoint,
    check_heartbeat,
    check_host,
    check_names,
    check_polls,
    check_private_url,
    check_region,
    check_shard_count,
    check_shard_ids,
    check_token,
    check_webhook,
    parse_names,
    parse_port,
    parse_shard_ids,
    parse_token,
    parse_word,
    require_webhook,
)

_DATA_DIR: Final = Path("./data")
# Kubernetes sets the address of every service in the environment, and one may be called voice-relay.
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK: Final = re.compile(r"(\w+_)?SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?")

_Endpoint = Annotated[str | None, AfterValidator(check_endpoint)]
_Region = Annotated[str | None, AfterValidator(check_region)]
_Webhook = Annotated[SecretStr | None, AfterValidator(check_webhook)]
_LogFormat = Annotated[Literal["auto", "json", "text"], BeforeValidator(parse_word)]
_LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(parse_word)]
_Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_names), AfterValidator(check_names)]


class Settings(SourcedSettings):
    """All settings. Made by ``load_settings``; ``.env.example`` repeats the descriptions."""

    discord_token: Annotated[SecretStr, BeforeValidator(parse_token), AfterValidator(check_token)] = Field(
        description="The bot's token. Required; a secret."
    )
    discord_api_url: Annotated[str, AfterValidator(check_private_url)] = Field(
        "https://discord.com/api/v10", description="The base URL of Discord's REST API, or of a proxy for it."
    )
    api_endpoint: _Endpoint = Field(
        None, description="The URL of the ingress API. Unset: everything runs on this machine, without AWS."
    )
    aws_region: _Region = Field(
        None, description="The signing region. Unset: the one in API_ENDPOINT, else AWS's own settings."
    )
    webhook_url: Annotated[_Webhook, AfterValidator(require_webhook)] = Field(
        None, description="The Discord webhook to post to; needed only without API_ENDPOINT. A secret."
    )
    data_dir: Path = Field(_DATA_DIR, description="The directory of the outbox, on a local disk.")
    rules_file: Path | None = Field(
        None,
        description="Routing rules, TOML. Unset: all but updated and short gaps goes to the workflow notify.",
    )
    workflows: _Names = Field(
        (),
        description="Workflows with a stack of their own, like admit,greet. Written by voice-relay deploy.",
    )
    workflows_dir: Path | None = Field(
        None, description="The directory of your own workflows, NAME.asl.json, for single-machine mode."
    )
    connections_file: Path | None = Field(
        None,
        description="The APIs that workflows call in single-machine mode, TOML. Has credentials: a secret.",
    )
    destinations: _Names = Field(
        (), description="The stack's destinations, to check the rules against. Written by voice-relay deploy."
    )
    actions: Annotated[_Names, AfterValidator(check_actions)] = Field(
        (), description="What workflows may have the bot do in Discord, like send,edit,move. Empty: nothing."
    )
    activity_arn: Annotated[str | None, Field(validate_default=True), AfterValidator(check_activity)] = Field(
        None, description="The stack's activity, needed with ACTIONS. Written by voice-relay deploy."
    )
    batch_max_events: Annotated[int | None, Field(ge=1, le=1000)] = Field(
        None, description="The most events in one execution. Unset: 38 for notify, 200 KiB for others."
    )
    max_event_age_s: float = Field(
        86_400,
        gt=0,
        allow_inf_nan=False,
        description="How old an event may get before it becomes a dead letter, in seconds.",
    )
    outbox_max_bytes: int = Field(
        1_073_741_824, ge=1_048_576, description="The largest size of the outbox file, in bytes."
    )
    outbox_synchronous: Annotated[Literal["full", "normal"], BeforeValidator(parse_word)] = Field(
        "full",
        description="full (a power cut undoes no commit) or normal (it may: events doubled or missing).",
    )
    receipts_kept_s: float = Field(
        604_800, ge=0, allow_inf_nan=False, description="How long to keep receipts for trace, in seconds."
    )
    ops_host: Annotated[str, AfterValidator(check_host)] = Field(
        "127.0.0.1", description="The address of the ops server: health, readiness, metrics and status."
    )
    ops_port: Annotated[int | None, Field(ge=0, le=65535), BeforeValidator(parse_port)] = Field(
        8080, description="The port of the ops server. 0 picks a free one; empty turns the server off."
    )
    polls_per_s: Annotated[float, AfterValidator(check_polls)] = Field(
        10,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="How often per second the relay may ask after executions, all together. 0 follows none.",
    )
    heartbeat_s: Annotated[float, AfterValidator(check_heartbeat)] = Field(
        60,
        ge=0,
        allow_inf_nan=False,
        description="How often to send a heartbeat while the bot is ready, in seconds. 0 sends none.",
    )
    log_format: _LogFormat = Field(
        "auto", description="auto (text on a terminal, JSON elsewhere), json or text."
    )
    log_level: _LogLevel = Field("info", description="debug, info, warning, error or critical.")
    shutdown_grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        10, description="How long SIGTERM waits for what is in flight, in seconds."
    )
    shard_ids: Annotated[
        tuple[int, ...] | None, NoDecode, BeforeValidator(parse_shard_ids), AfterValidator(check_shard_ids)
    ] = Field(None, description="The shards that this process runs, like 0,1,2. Needs SHARD_COUNT.")
    shard_count: Annotated[int | None, Field(ge=1), AfterValidator(check_shard_count)] = Field(
        None, description="The number of shards in all processes. Needs SHARD_IDS."
    )

    def secrets(self) -> list[str]:
        """Return the values that must not appear in a log."""
        return [self.discord_token.get_secret_value(), *_secrets_of(self.webhook_url)]


class ApiSettings(SourcedSettings):
    """What a client of the API needs, without Discord. Made by ``load_api_settings``."""

    api_endpoint: _Endpoint = None
    aws_region: _Region = None
    webhook_url: _Webhook = None
    workflows_dir: Path | None = None
    connections_file: Path | None = None
    log_format: _LogFormat = "auto"
    log_level: _LogLevel = "info"

    def secrets(self) -> list[str]:
        """Return the values that must not appear in a log."""
        return _secrets_of(self.webhook_url)


class _DataSettings(SourcedSettings):
    data_dir: Path = _DATA_DIR


class RulesSettings(SourcedSettings):
    """What a check of the rules needs. Made by ``load_rules_settings``."""

    rules_file: Path | None = None
    workflows: _Names = ()
    workflows_dir: Path | None = None
    destinations: _Names = ()
    actions: Annotated[_Names, AfterValidator(check_actions)] = ()
    api_endpoint: SecretStr | None = None
    webhook_url: SecretStr | None = None

    @property
    def single_machine(self) -> bool:
        """Whether they are those of a relay without a stack; not so if there are no such settings at all."""
        return self.api_endpoint is None and (self.webhook_url or self.workflows_dir) is not None


class _WebhookSettings(SourcedSettings):
    webhook_url: _Webhook = None


def _secrets_of(webhook_url: SecretStr | None) -> list[str]:
    """Return the webhook's URL and the token in it."""
    if webhook_url is None:
        return []
    url = webhook_url.get_secret_value()
    return [url, url.rpartition("/")[2]]


_Settings = TypeVar("_Settings", bound=SourcedSettings)


def load_settings(*, env_file: Path | None = ENV_FILE) -> Settings:
    """Load all settings; raises SettingsError with every problem."""
    return _load(Settings, env_file, refuse_unknown=True)


def load_api_settings(*, env_file: Path | None = ENV_FILE) -> ApiSettings:
    """Load the API client's settings; the others may be wrong or missing, but unknown names are refused."""
    return _load(ApiSettings, env_file, refuse_unknown=True)


def load_data_dir(*, env_file: Path | None = ENV_FILE) -> Path:
    """Load DATA_DIR alone; the other settings may be wrong or missing."""
    return _load(_DataSettings, env_file).data_dir


def load_rules_settings(*, env_file: Path | None = ENV_FILE) -> RulesSettings:
    """Load what a check of the rules needs; the other settings may be wrong or missing."""
    return _load(RulesSettings, env_file)


def load_webhook_url(*, env_file: Path | None = ENV_FILE) -> SecretStr | None:
    """Load WEBHOOK_URL alone; the other settings may be wrong or missing."""
    return _load(_WebhookSettings, env_file).webhook_url


def _load(kind: type[_Settings], env_file: Path | None, *, refuse_unknown: bool = False) -> _Settings:
    problems: list[str] = []
    try:
        secrets_dir = find_secrets_dir()
        check_files(env_file, secrets_dir)
        if refuse_unknown:
            problems += _find_unknown(find_names(env_file, secrets_dir))
            problems += find_broken_keys(env_file, secrets_dir)
            problems += find_repeated_keys(env_file)
        settings = kind(_env_file=env_file, _secrets_dir=secrets_dir)
    except pydantic.ValidationError as error:
        problems += map(_explain, error.errors(include_input=False, include_url=False))
    except (UnicodeDecodeError, SourceError):
        problems.append(f"{env_file} or a secret's file is not text in UTF-8: save it as UTF-8")
    except OSError as error:
        problems.append(f"cannot read {error.filename} ({error.strerror}): check the path and permissions")
    else:
        if not problems:
            return settings
    # Not chained: pydantic's error says the same in its own terms.
    raise SettingsError(problems) from None


def _find_unknown(names: Iterable[str]) -> list[str]:
    """Return a problem for each of *names* that is not a setting."""
    settings = {name.upper() for name in Settings.model_fields}
    known = settings | {SECRETS_DIR_VARIABLE.removeprefix(PREFIX)}
    problems = []
    for name in sorted(set(names) - known):
        if _SERVICE_LINK.fullmatch(name):
            continue
        nearest = difflib.get_close_matches(name, settings, n=1)
        remedy = (
            f"did you mean {PREFIX}{nearest[0]}?" if nearest else "remove it; .env.example lists them all"
        )
        problems.append(f"{PREFIX}{name} is not a setting: {remedy}")
    return problems


def _explain(error: ErrorDetails) -> str:
    """Return one of pydantic's errors as a sentence without the value."""
    field = str(error["loc"][0])
    if error["type"] == "missing":
        text = "is not set: set it to the bot's token (Discord's developer portal: Bot, Reset Token)"
    elif error["type"] == EXPLAINED:
        text = error["msg"]
    else:
        text = EXPECTED[field]
    return f"{PREFIX}{field.upper()} {text}"

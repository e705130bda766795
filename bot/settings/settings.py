"""Settings: from the environment, from ``.env`` and from files in a secrets directory, in this order.

Every name begins with ``VOICE_RELAY_``. An empty value counts as none, so that a line can be kept without
being in force; ``OPS_PORT`` alone is turned off that way. What is wrong is reported all at once, in sentences
that name the variable and the remedy and never repeat a value: it may be a token that went astray.
"""

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from bot.errors import SettingsError
from bot.settings.values import (
    WANTED,
    check_endpoint,
    check_heartbeat,
    check_host,
    check_region,
    check_shard_count,
    check_shard_ids,
    check_token,
    check_url,
    check_webhook,
    parse_port,
    parse_shard_ids,
    parse_token,
    parse_word,
    require_webhook,
)

PREFIX: Final = "VOICE_RELAY_"
ENV_FILE: Final = Path(".env")
_SECRETS_DIR_VARIABLE: Final = "VOICE_RELAY_SECRETS_DIR"
_SECRETS_DIR: Final = Path("/run/secrets")
_DATA_DIR: Final = Path("./data")
_GRACE_S: Final = 10.0
# Kubernetes puts the address of every service into the environment, and one may be called voice-relay.
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK: Final = re.compile(r"(\w+_)?SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?")


class _Sourced(BaseSettings):
    """Where settings come from, however many of them are wanted."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True, validate_default=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the sources in order, each without what is empty in it."""
        order = (init_settings, env_settings, dotenv_settings, file_secret_settings)
        return tuple(_NonEmpty(settings_cls, source) for source in order)


_Endpoint = Annotated[str | None, AfterValidator(check_endpoint)]
_Region = Annotated[str | None, AfterValidator(check_region)]
_Webhook = Annotated[SecretStr | None, AfterValidator(check_webhook)]
_LogFormat = Annotated[Literal["auto", "json", "text"], BeforeValidator(parse_word)]
_LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(parse_word)]
_Grace = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(_Sourced):
    """How this process works. Made by ``load_settings``; ``.env.example`` holds the same descriptions."""

    discord_token: Annotated[SecretStr, BeforeValidator(parse_token), AfterValidator(check_token)] = Field(
        description="The bot's token. Required; a secret."
    )
    discord_api_url: Annotated[str, AfterValidator(check_url)] = Field(
        "https://discord.com/api/v10", description="The base of Discord's REST API, or of a proxy for it."
    )
    api_endpoint: _Endpoint = Field(
        None, description="The ingress API. Unset: everything runs on this machine, with no AWS account."
    )
    aws_region: _Region = Field(
        None, description="The signing region. Unset: that in the endpoint's name, else AWS's own settings."
    )
    webhook_url: Annotated[_Webhook, AfterValidator(require_webhook)] = Field(
        None, description="The Discord webhook to post to; needed only without API_ENDPOINT. A secret."
    )
    data_dir: Path = Field(_DATA_DIR, description="The directory of the outbox.")
    rules_file: Path | None = Field(
        None, description="Routing rules, TOML. Unset: joined, left and moved go to the workflow notify."
    )
    batch_max_events: int = Field(25, ge=1, le=1000, description="The most events in one execution.")
    max_event_age_s: float = Field(
        86_400,
        gt=0,
        allow_inf_nan=False,
        description="How old an event may get before it goes to the dead letters instead, in seconds.",
    )
    outbox_max_bytes: int = Field(
        1_073_741_824, ge=1_048_576, description="The size that the outbox file may have, in bytes."
    )
    outbox_synchronous: Annotated[Literal["full", "normal"], BeforeValidator(parse_word)] = Field(
        "full", description="full (a power cut loses no commit) or normal (it may lose the last few)."
    )
    receipts_kept_s: float = Field(
        604_800, ge=0, allow_inf_nan=False, description="How long receipts are kept for trace, in seconds."
    )
    ops_host: Annotated[str, AfterValidator(check_host)] = Field(
        "127.0.0.1", description="The address of the health, readiness, metrics and status pages."
    )
    ops_port: Annotated[int | None, Field(ge=0, le=65535), BeforeValidator(parse_port)] = Field(
        8080, description="Their port. 0 picks a free one; empty turns them off."
    )
    heartbeat_s: Annotated[float, AfterValidator(check_heartbeat)] = Field(
        60,
        ge=0,
        allow_inf_nan=False,
        description="How often to send a sign of life while all is well, in seconds. 0 sends none.",
    )
    log_format: _LogFormat = Field(
        "auto", description="auto (text on a terminal, JSON elsewhere), json or text."
    )
    log_level: _LogLevel = Field("info", description="debug, info, warning, error or critical.")
    shutdown_grace_s: _Grace = Field(
        _GRACE_S, description="How long SIGTERM waits for what is in flight, in seconds."
    )
    shard_ids: Annotated[
        tuple[int, ...] | None, NoDecode, BeforeValidator(parse_shard_ids), AfterValidator(check_shard_ids)
    ] = Field(None, description="The shards that this process runs, like 0,1,2. Goes with SHARD_COUNT.")
    shard_count: Annotated[int | None, Field(ge=1), AfterValidator(check_shard_count)] = Field(
        None, description="How many shards there are in all. Goes with SHARD_IDS."
    )

    def secrets(self) -> list[str]:
        """Return what no log line may hold."""
        return [self.discord_token.get_secret_value(), *_secrets_of(self.webhook_url)]


class ApiSettings(_Sourced):
    """What it takes to speak to the API alone, without Discord. Made by ``load_api_settings``."""

    api_endpoint: _Endpoint = None
    aws_region: _Region = None
    webhook_url: _Webhook = None
    log_format: _LogFormat = "auto"
    log_level: _LogLevel = "info"
    shutdown_grace_s: _Grace = _GRACE_S

    def secrets(self) -> list[str]:
        """Return what no log line may hold."""
        return _secrets_of(self.webhook_url)


class _DataSettings(_Sourced):
    data_dir: Path = _DATA_DIR


class _RulesSettings(_Sourced):
    rules_file: Path | None = None


class _WebhookSettings(_Sourced):
    webhook_url: Annotated[SecretStr | None, AfterValidator(check_webhook)] = None


def _secrets_of(webhook_url: SecretStr | None) -> list[str]:
    if webhook_url is None:
        return []
    url = webhook_url.get_secret_value()
    return [url, url.rpartition("/")[2]]


_Settings = TypeVar("_Settings", bound=_Sourced)


class _NonEmpty(PydanticBaseSettingsSource):
    """*source* without its empty values, so that the next source is asked for them."""

    def __init__(self, settings_cls: type[BaseSettings], source: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._source = source

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self._source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        values = self._source()
        return {name: value for name, value in values.items() if value != "" or name == "ops_port"}


def load_settings(*, env_file: Path | None = ENV_FILE) -> Settings:
    """Read the settings; raises SettingsError with every problem that there is."""
    return _load(Settings, env_file, whole=True)


def load_api_settings(*, env_file: Path | None = ENV_FILE) -> ApiSettings:
    """Read what it takes to speak to the API; what else is set may be wrong, but not of an unknown name."""
    return _load(ApiSettings, env_file, whole=True)


def load_data_dir(*, env_file: Path | None = ENV_FILE) -> Path:
    """Read DATA_DIR, for what needs no other setting: the others may be missing or wrong."""
    return _load(_DataSettings, env_file, whole=False).data_dir


def load_rules_file(*, env_file: Path | None = ENV_FILE) -> Path | None:
    """Read RULES_FILE, for a look at the rules, which needs no other setting."""
    return _load(_RulesSettings, env_file, whole=False).rules_file


def load_webhook_url(*, env_file: Path | None = ENV_FILE) -> SecretStr | None:
    """Read WEBHOOK_URL, for a deployment, which needs no other setting."""
    return _load(_WebhookSettings, env_file, whole=False).webhook_url


def _load(kind: type[_Settings], env_file: Path | None, *, whole: bool) -> _Settings:
    """Read settings; if *whole*, a name that is no setting at all is a problem."""
    problems: list[str] = []
    try:
        secrets_dir = find_secrets_dir()
        if whole:
            problems += _find_unknown(_names(env_file, secrets_dir))
        settings = kind(_env_file=env_file, _secrets_dir=secrets_dir)
    except pydantic.ValidationError as error:
        problems += map(_explain, error.errors(include_input=False, include_url=False))
    except UnicodeDecodeError:
        problems.append(f"{env_file} or a file of a secret is not text in UTF-8: write it anew")
    except OSError as error:
        problems.append(f"{error.filename} cannot be read ({error.strerror}): check the path and permissions")
    else:
        if not problems:
            return settings
    # pydantic's error is left out: it says the same in its own terms.
    raise SettingsError(problems) from None


def find_secrets_dir() -> Path | None:
    """Return the directory that files of secrets are read from; OSError if the one that is named is none."""
    named = os.environ.get(_SECRETS_DIR_VARIABLE)
    if not named:
        return _SECRETS_DIR if _SECRETS_DIR.is_dir() else None
    os.scandir(named).close()
    return Path(named)


def _names(env_file: Path | None, secrets_dir: Path | None) -> set[str]:
    """Return every name in any source that has the prefix, in upper case and without it."""
    names = [*os.environ]
    if env_file is not None:
        names += DotEnvSettingsSource(Settings, env_file=env_file).env_vars
    if secrets_dir is not None:
        names += [path.name for path in secrets_dir.iterdir()]
    return {name.upper().removeprefix(PREFIX) for name in names if name.upper().startswith(PREFIX)}


def _find_unknown(names: Iterable[str]) -> list[str]:
    known = {name.upper() for name in Settings.model_fields}
    not_ours = known | {_SECRETS_DIR_VARIABLE.removeprefix(PREFIX)}
    problems = []
    for name in sorted(set(names) - not_ours):
        if _SERVICE_LINK.fullmatch(name):
            continue
        nearest = difflib.get_close_matches(name, known, n=1)
        remedy = (
            f"did you mean {PREFIX}{nearest[0]}?" if nearest else "remove it; .env.example lists them all"
        )
        problems.append(f"{PREFIX}{name} is not a setting: {remedy}")
    return problems


def _explain(error: ErrorDetails) -> str:
    """Return one of pydantic's errors as a sentence that holds no value."""
    field = str(error["loc"][0])
    if error["type"] == "missing":
        text = "is not set: give the bot's token (Discord's developer portal, Bot, Reset Token)"
    elif error["type"] == "half_set":
        text = error["msg"]
    else:
        text = WANTED[field]
    return f"{PREFIX}{field.upper()} {text}"

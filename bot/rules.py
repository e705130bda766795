"""Where events go: routing rules, from a TOML file or the built-in ones.

The first rule that an event matches decides. A rule that names nothing matches everything.

    [[rule]]
    types = ["joined", "left", "moved"]     # of the event; all where absent
    guilds = ["41771983423143937"]          # ids, as strings; likewise channels and users
    workflow = "notify"
    destination = "default"

    [[rule]]
    drop = true
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import pydantic

from bot.errors import SettingsError
from bot.events import Event, Snowflake

Name = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_Type = Literal["joined", "left", "moved", "updated", "gap"]
_PREFIX = "discord.voice."


class Route(NamedTuple):
    workflow: str
    destination: str


class Rule(pydantic.BaseModel):
    """One ``[[rule]]``; an absent condition holds for every event."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    types: frozenset[_Type] | None = None
    guilds: frozenset[Snowflake] | None = None
    channels: frozenset[Snowflake] | None = None
    users: frozenset[Snowflake] | None = None
    workflow: Name = "notify"
    destination: Name = "default"
    drop: bool = False

    def matches(self, event: Event) -> bool:
        """Say whether *event* meets every condition; a gap has no channel and no person to match."""
        if self.types is not None and event["type"].removeprefix(_PREFIX) not in self.types:
            return False
        if self.guilds is not None and event["data"]["guild"]["id"] not in self.guilds:
            return False
        if self.channels is None and self.users is None:
            return True
        if event["type"] == "discord.voice.gap":
            return False
        data = event["data"]
        places = {channel["id"] for channel in (data["channel"], data["previous_channel"]) if channel}
        if self.channels is not None and self.channels.isdisjoint(places):
            return False
        return self.users is None or data["user"]["id"] in self.users


class _File(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    rule: list[Rule]


class Rules:
    """An ordered list of rules, asked once for each event."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)

    def route(self, event: Event) -> Route | None:
        """Return where *event* goes, ``None`` for nowhere."""
        for rule in self._rules:
            if rule.matches(event):
                return None if rule.drop else Route(rule.workflow, rule.destination)
        return None


DEFAULT_RULES = Rules([Rule(types=frozenset({"joined", "left", "moved", "gap"}))])
"""Comings, goings and the gaps between them; changes of mute, stream and the like go nowhere."""


def load_rules(path: Path) -> Rules:
    """Read the rules in *path*; SettingsError names everything that is wrong with them."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return Rules(_File.model_validate(document).rule)
    except OSError as error:
        raise SettingsError([f"VOICE_RELAY_RULES_FILE: cannot read {path}: {error.strerror}"]) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError([f"VOICE_RELAY_RULES_FILE: {path} is not valid TOML: {error}"]) from error
    except pydantic.ValidationError as error:
        raise SettingsError(
            [_explain(path, problem["loc"], problem["msg"]) for problem in error.errors()]
        ) from error


def _explain(path: Path, place: tuple[int | str, ...], message: str) -> str:
    if len(place) >= 2 and place[0] == "rule":
        where = f"rule {int(place[1]) + 1}" + "".join(f", {part}" for part in place[2:])
    else:
        where = ", ".join(map(str, place)) or "the file"
    return f"VOICE_RELAY_RULES_FILE: {path}: {where}: {message[0].lower()}{message[1:]}"

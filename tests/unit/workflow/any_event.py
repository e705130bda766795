"""Hypothesis strategies for every event that the schema allows, with names as nasty as they come."""

from datetime import datetime
from typing import Any

from hypothesis import strategies as st

Event = dict[str, Any]

NOW = "2026-11-21T07:00:00.123Z"

WIDE = "𒐫" * 32
NASTY = (
    "@everyone", "@here", "<@&41771983423143937>", "<@80351110224678912>", "**bold** ||spoiler|| `code`",
    "[click](https://example.com)", "# heading\n> quote", "\\", "{% $states %}", "' & $states.input & '",
    WIDE, "👩‍👩‍👧‍👦" * 4, "\u202egnp.exe", "\x00",
)  # fmt: skip
FLAGS = ("self_mute", "self_deaf", "mute", "deaf", "self_stream", "self_video", "suppress")

names = st.one_of(st.none(), st.sampled_from(NASTY), st.text(max_size=32))
snowflakes = st.integers(0, 10**20 - 1).map(str)
times = st.datetimes(datetime(2015, 1, 1), datetime(9999, 1, 1)).map(  # noqa: DTZ001  # Hypothesis wants naive bounds
    lambda at: f"{at.replace(microsecond=0).isoformat()}.{at.microsecond // 1000:03d}Z"
)
guilds = st.fixed_dictionaries({"id": snowflakes, "name": names})
channels = st.none() | st.fixed_dictionaries(
    {"id": snowflakes, "name": names, "kind": st.sampled_from(["voice", "stage", "unknown"])}
)
users = st.fixed_dictionaries(
    {"id": snowflakes, "name": names, "display_name": names, "bot": st.none() | st.booleans()}
)
voice_data = st.fixed_dictionaries(
    {
        "guild": guilds,
        "user": users,
        "channel": channels,
        "previous_channel": channels,
        "changes": st.fixed_dictionaries({}, optional=dict.fromkeys(FLAGS, st.booleans())),
        "occupants": st.integers(0, 10**6),
        "duration_s": st.none() | st.floats(0, 1e12, allow_nan=False),
        "inferred": st.booleans(),
        "state": st.fixed_dictionaries(dict.fromkeys(FLAGS, st.booleans())),
    }
)
reasons = st.sampled_from(["restart", "session_lost", "guild_unavailable", "store_full"])
gap_data = st.fixed_dictionaries(
    {"guild": guilds, "from": st.none() | times, "until": times, "reason": reasons}
)


def envelope(kind: str, data: Event, *, time: str = NOW) -> Event:
    event = {
        "specversion": "1.0",
        "id": "01JD",
        "source": "/discord/guilds/41771983423143937",
        "type": f"discord.voice.{kind}",
        "time": time,
        "data": data,
    }
    return event if kind == "gap" else event | {"subject": "users/80351110224678912"}


kinds = st.sampled_from(["joined", "left", "moved", "updated"])
events = st.builds(
    lambda kind, data, time: envelope(kind, data, time=time), kinds, voice_data, times
) | st.builds(lambda data, time: envelope("gap", data, time=time), gap_data, times)

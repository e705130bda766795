"""An outbox file with a row in every table, made by the relay's own parts; and a way to change it by hand."""

import sqlite3
from contextlib import closing
from pathlib import Path

from bot.outbox.database import FILE_NAME
from bot.outbox.session import Position, Session
from bot.outbox.work import Watched, Work
from bot.routing.debounce import Held, HeldKey
from bot.routing.lane import Lane
from bot.routing.rules import Route
from bot.ulid import UlidFactory
from bot.voice.tracker import Tracker
from tests.support.frames import GENERAL, GUILD, NELLY, OTHER, guild_create, voice_state
from tests.support.outboxes import NOW, THERE, OutboxFile

PARAMETERS = '{"limit":5}'
SIGNALLED = Lane("admit", "127121515262115841")
RESUME_URL = "wss://gateway-us-east1-b.discord.gg"


def fill(directory: Path) -> None:
    """Make the outbox: one event held, one dead, one delivered, and some in flight, one of them a signal."""
    outbox = OutboxFile(directory)
    tracker = Tracker({}, UlidFactory())
    observations = [
        tracker.snapshot(guild_create({NELLY: GENERAL}), NOW),
        tracker.voice_state(voice_state(OTHER, GENERAL), NOW),
    ]
    taken = [each for each in observations if each is not None]
    told = taken[-1].events[-1]
    assert told["type"] == "discord.voice.joined"
    held = Held(None, None, None, told, (Route("notify", "default", parameters=PARAMETERS),), NOW + 5000)
    outbox.store.apply(
        Work(
            observations=taken,
            positions={0: Position(Session(0, 1, NELLY, "0123abcd", RESUME_URL), 7)},
            watched=Watched(1, {0: NOW}),
            held={HeldKey(GUILD, OTHER, 5000): held},
        ),
        slots=0,
        now_ms=NOW,
    )
    outbox.bury([outbox.event()], "refused")
    outbox.put(outbox.event())
    outbox.deliver(outbox.begin()[0])
    put_signal(outbox)
    outbox.put(*(outbox.event(THERE)._replace(parameters=PARAMETERS) for _ in range(2)))
    outbox.begin()
    outbox.close()


def put_signal(outbox: OutboxFile) -> None:
    """Start an execution for somebody, and let a signal to it be in flight."""
    about = outbox.event(SIGNALLED)._replace(key=f"user-{NELLY}")
    outbox.put(about)
    outbox.deliver(outbox.begin()[0])
    outbox.put(outbox.event(SIGNALLED)._replace(key=about.key, signal="withdraw"))


def change(directory: Path, script: str) -> None:
    """Run *script* on the file, as somebody else would."""
    with closing(sqlite3.connect(directory / FILE_NAME)) as db:
        db.executescript(script)


def find_aside(directory: Path) -> list[Path]:
    """Return the files that were set aside."""
    return sorted(directory.glob(FILE_NAME + ".damaged-*Z"))

-- What the relay must not forget, in one SQLite file.
--
-- Applied when the file's user_version is below this file's number. An applied file is never edited: a later
-- change is a file of its own. Times are milliseconds since 1970, ids of Discord are text.

-- Every guild whose occupancy is kept. While a guild is watched, unwatched_since_ms is null; it is the last
-- moment of watching otherwise, and gap_reason says why it ended.
CREATE TABLE guild (
    guild_id           TEXT PRIMARY KEY,
    name               TEXT,
    known              INTEGER NOT NULL,
    unwatched_since_ms INTEGER,
    gap_reason         TEXT
) STRICT, WITHOUT ROWID;

-- Who is in voice, and where. Written in the transaction of the event that the change gave rise to.
CREATE TABLE occupant (
    guild_id   TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    channel_id TEXT NOT NULL,
    since_ms   INTEGER,           -- null: the arrival was not seen
    flags      INTEGER NOT NULL,  -- a bit for each flag, in the order of bot.voice.occupancy.FLAGS
    user       TEXT NOT NULL,     -- the event's "user", as JSON
    PRIMARY KEY (guild_id, user_id)
) STRICT, WITHOUT ROWID;

-- Until when each shard is known to have been watching, written regularly. Which guilds that speaks of depends
-- on how many shards there were.
CREATE TABLE watch (
    shard_count INTEGER NOT NULL,
    shard_id    INTEGER NOT NULL,
    until_ms    INTEGER NOT NULL,
    PRIMARY KEY (shard_count, shard_id)
) STRICT, WITHOUT ROWID;

-- Events of one guild for one workflow wait in one lane, first in, first out.
CREATE TABLE lane (
    lane_id          INTEGER PRIMARY KEY,
    workflow         TEXT NOT NULL,
    guild_id         TEXT NOT NULL,
    batch_max_events INTEGER,  -- null: the setting decides
    UNIQUE (workflow, guild_id)
) STRICT;

-- Events that wait or are on their way; seq is the order of the frames.
CREATE TABLE event (
    seq         INTEGER PRIMARY KEY,
    lane_id     INTEGER NOT NULL,
    event_id    TEXT NOT NULL,
    destination TEXT NOT NULL,
    body        TEXT NOT NULL,    -- the CloudEvent, byte for byte as it is sent
    entered_ms  INTEGER NOT NULL  -- when it came into the lane, by capture or by redrive
) STRICT;
CREATE INDEX event_by_lane ON event (lane_id, seq);

-- Comings and goings that wait to settle, at most one for each person, lane and destination.
CREATE TABLE held (
    lane_id     INTEGER NOT NULL,
    destination TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    due_ms      INTEGER NOT NULL,
    stay_s      REAL,
    origin      TEXT,           -- the channel that they were in to begin with, as JSON; null: none
    event       TEXT NOT NULL,  -- how things stand now, as JSON
    PRIMARY KEY (lane_id, destination, user_id)
) STRICT, WITHOUT ROWID;

-- The batch that a lane has in flight: the events of the lane from first_seq to last_seq. It is written
-- before the first attempt, so that every attempt has the same bytes under the same execution name.
CREATE TABLE batch (
    lane_id         INTEGER PRIMARY KEY,
    execution       TEXT NOT NULL UNIQUE,
    first_seq       INTEGER NOT NULL,
    last_seq        INTEGER NOT NULL,
    created_ms      INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,  -- those that failed
    last_attempt_ms INTEGER,
    last_error      TEXT
) STRICT;

-- What was accepted, by which execution.
CREATE TABLE receipt (
    execution    TEXT PRIMARY KEY,
    arn          TEXT NOT NULL,
    lane_id      INTEGER NOT NULL,
    event_ids    TEXT NOT NULL,     -- separated by commas, in order
    attempts     INTEGER NOT NULL,
    created_ms   INTEGER NOT NULL,
    delivered_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX receipt_by_time ON receipt (delivered_ms);

-- What was not delivered and will not be by itself: refused for good, or too old. A redrive is asked for by
-- setting redrive to 1, from any process; the relay then puts the event at the end of its lane.
CREATE TABLE dead_letter (
    letter_id   INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: people note it, and name it later
    lane_id     INTEGER NOT NULL,
    event_id    TEXT NOT NULL,
    destination TEXT NOT NULL,
    body        TEXT NOT NULL,
    execution   TEXT,              -- the one that was refused; null: never sent
    reason      TEXT NOT NULL,
    died_ms     INTEGER NOT NULL,
    redrive     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX dead_letter_to_redrive ON dead_letter (letter_id) WHERE redrive = 1;

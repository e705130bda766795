-- What the debounce holds is one stream for each person and debounce time, whatever the lanes that it goes to: what
-- follows is merged with all of it, also where the rules send it elsewhere or nowhere.

ALTER TABLE held RENAME TO held_by_lane;

CREATE TABLE held (
    guild_id    TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    debounce_ms INTEGER NOT NULL,
    due_ms      INTEGER NOT NULL,  -- by the system time
    since_ms    INTEGER,           -- when they came to their origin; null: unknown
    stay_s      REAL,              -- how long they had been there when they left it; null: unknown
    origin      TEXT,              -- the channel that they were in to begin with, as JSON; null: none
    event       TEXT NOT NULL,     -- how things stand now, as JSON
    routes      TEXT NOT NULL,     -- [workflow, destination, batch_max_events] of each, as JSON; []: nothing to tell
    PRIMARY KEY (guild_id, user_id, debounce_ms)
) STRICT, WITHOUT ROWID;

-- Each row becomes a stream of its own. Their debounce times are not known: they are due at once.
INSERT INTO held
SELECT guild_id, user_id, row_number() OVER (PARTITION BY guild_id, user_id), due_ms, NULL, stay_s, origin, event,
       '[["' || workflow || '","' || destination || '",null]]'
FROM held_by_lane JOIN lane USING (lane_id);

DROP TABLE held_by_lane;

-- When the damaged file before this one was last known to be good; no row if there was none. Guilds that the bot was
-- in by then were watched by the relay of that file: their first snapshot here ends a gap.
CREATE TABLE lost_file (
    lost_ms INTEGER NOT NULL
) STRICT;

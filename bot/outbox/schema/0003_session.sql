-- The gateway's session outlives the process: the next one resumes it, and Discord replays what was missed.

-- How far the session of each shard has been taken in. seq is written in the transaction of the frame's events:
-- were it behind them, the replay would tell them twice; were it ahead, they could be lost. Frames that change
-- nothing may be replayed, so for them it lags.
CREATE TABLE session (
    shard_id    INTEGER PRIMARY KEY,
    shard_count INTEGER NOT NULL,
    bot_id      TEXT NOT NULL,    -- whose session it is: another bot's token cannot resume it
    session_id  TEXT NOT NULL,
    resume_url  TEXT NOT NULL,
    seq         INTEGER NOT NULL
) STRICT;

-- What a snapshot says of a guild's voice channels, as JSON: their names, kinds and categories, and which is the
-- AFK channel. After a RESUME no snapshot comes. Null: not known.
ALTER TABLE guild ADD COLUMN places TEXT;

-- An event may go to an execution that an earlier one started, as a signal, instead of starting one itself.

-- key tells what an event is about from all else in its lane: a person, say. Null: no rule signals the workflow.
-- signal is what the event goes as; null: it starts an execution.
ALTER TABLE event ADD COLUMN key TEXT;
ALTER TABLE event ADD COLUMN signal TEXT;
ALTER TABLE dead_letter ADD COLUMN key TEXT;
ALTER TABLE dead_letter ADD COLUMN signal TEXT;

-- The execution that was last started for each key; written in the transaction that begins its batch. As old as receipts
-- may be.
CREATE TABLE started (
    lane_id   INTEGER NOT NULL,
    key       TEXT NOT NULL,
    execution TEXT NOT NULL,
    begun_ms  INTEGER NOT NULL,
    PRIMARY KEY (lane_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX started_by_time ON started (begun_ms);

-- The execution that the batch signals, by its name. Null: it starts one, or there is none to signal.
ALTER TABLE batch ADD COLUMN target TEXT;

-- Of a signal: its name, the execution that it went to, and what became of it. Null: an execution was started.
ALTER TABLE receipt ADD COLUMN signal TEXT;
ALTER TABLE receipt ADD COLUMN target TEXT;
ALTER TABLE receipt ADD COLUMN outcome TEXT;

-- What a rule hands to its workflow goes with the event, into its batch and into its dead letter.

-- Each set of parameters once, however many events it goes with. Those that nothing names any more are dropped when the
-- relay starts.
CREATE TABLE parameters (
    parameters_id INTEGER PRIMARY KEY,
    body          TEXT NOT NULL UNIQUE  -- an object, as JSON
) STRICT;

-- Null: none, which is sent as {}.
ALTER TABLE event ADD COLUMN parameters_id INTEGER;
ALTER TABLE dead_letter ADD COLUMN parameters_id INTEGER;
CREATE INDEX event_by_parameters ON event (parameters_id) WHERE parameters_id IS NOT NULL;
CREATE INDEX dead_letter_by_parameters ON dead_letter (parameters_id) WHERE parameters_id IS NOT NULL;

-- 0: begun before inputs had parameters. Its bytes stay as they were first sent.
ALTER TABLE batch ADD COLUMN has_parameters INTEGER NOT NULL DEFAULT 0;

-- What an operator wants of a lane, set from any process: the relay takes it up at its next housekeeping.

-- 1: the lane begins no batch; its events gather.
ALTER TABLE lane ADD COLUMN parked INTEGER NOT NULL DEFAULT 0;

-- The last event to drop, by its place in line and its id; whatever waits up to it is dropped. The relay may give the
-- place of an event that has gone to another one, whose id then differs. Null: nothing is dropped.
ALTER TABLE lane ADD COLUMN drop_to_seq INTEGER;
ALTER TABLE lane ADD COLUMN drop_to_event TEXT;

CREATE INDEX lane_marked ON lane (lane_id) WHERE parked = 1 OR drop_to_seq IS NOT NULL;

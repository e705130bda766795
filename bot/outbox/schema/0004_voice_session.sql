-- Tells leaving and coming back within a gap from one long stay.

-- Discord's id of the stay in voice: another one says that the person has left and come back. Null: not known.
ALTER TABLE occupant ADD COLUMN session_id TEXT;

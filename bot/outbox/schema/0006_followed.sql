-- The execution of a workflow that posts is followed to its end, by the next process too.

-- The execution that the API started for the batch, and when. Null: not accepted yet.
ALTER TABLE batch ADD COLUMN arn TEXT;
ALTER TABLE batch ADD COLUMN accepted_ms INTEGER;

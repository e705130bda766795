"""From the outbox to the API: batches sent until they are accepted, and the heartbeat."""

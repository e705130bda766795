"""``voice-relay outbox``: one file per action on the outbox of a relay, whether that is running or not."""

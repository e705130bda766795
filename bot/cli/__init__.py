"""The command line, `voice-relay`: one file per command."""

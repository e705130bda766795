"""Logs without secrets, metrics, and the ops server."""

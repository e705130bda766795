"""What the relay tells of itself: logs without secrets, metrics, health and readiness."""

"""Tries on a real account what the relay assumes of AWS: deploys a stack of its own, compares, removes it."""

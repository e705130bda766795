"""The activity's worker: does in Discord what workflows hand to the bot."""

"""Settings from the environment, `.env` and files of secrets, all checked at once."""

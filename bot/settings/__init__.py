"""What an operator sets: environment, `.env` and secret files, all checked at once."""

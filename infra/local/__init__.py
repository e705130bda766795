"""One machine, no account: an embedded AWS for the templates, and a stand-in for Discord."""

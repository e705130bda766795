"""The ingress API as a client sees it: signed requests, credentials, and what its answers mean."""

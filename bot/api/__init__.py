"""Client of the ingress API: signed requests, credentials, responses, executions."""

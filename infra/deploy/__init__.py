"""Deploys the templates: change sets, stacks, destinations, webhooks and keys. Asks and prints nothing."""

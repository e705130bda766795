"""Lists the resources in the embedded AWS, to check that nothing is left behind."""

from collections.abc import Mapping

from infra.local.aws import EmbeddedAws

Kinds = Mapping[str, tuple[str, str, str, str | None]]
"""Kind to service, operation, key of the list, and key of the name unless an item is itself the name."""


def take_inventory(aws: EmbeddedAws, kinds: Kinds) -> dict[str, set[str]]:
    """Return all resources of these *kinds* in the account, by name or id."""
    return {
        kind: {
            item[name] if name else item
            for page in aws.client(service).get_paginator(operation).paginate()
            for item in page[key]
        }
        for kind, (service, operation, key, name) in kinds.items()
    }

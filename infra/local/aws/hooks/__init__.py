"""Patches to ministack for what the relay's templates need and it lacks: one module per feature.

Each patched function is listed with the parameters it had when its hook was written (``seam.py``), so a
ministack that changed under a hook refuses to start instead of behaving slightly differently.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from infra.local.aws.hooks import (
    activities,
    apigateway_invoke,
    budgets,
    change_set_conditions,
    composite_alarms,
    connection_resource,
    connections,
    error_matching,
    event_log,
    express_workflows,
    forbidden,
    http_invoke,
    http_proxy,
    jsonata_engine,
    machine_role,
    oidc_providers,
    provisioning,
    pseudo_parameters,
    role_permissions,
    root_key,
    sdk_task,
    service_integrations,
    service_roles,
    start_execution,
    stopped_executions,
    task_tokens,
    timeouts,
    volumes,
)
from infra.local.aws.hooks.asgi_client import AsgiClient
from infra.local.aws.hooks.seam import Seam, check_version

SEAMS: tuple[Seam, ...] = (
    *root_key.SEAMS,
    *forbidden.SEAMS,
    *provisioning.SEAMS,
    *jsonata_engine.SEAMS,
    *error_matching.SEAMS,
    *start_execution.SEAMS,
    *event_log.SEAMS,
    *express_workflows.SEAMS,
    *stopped_executions.SEAMS,
    *service_roles.SEAMS,
    *service_integrations.SEAMS,
    *http_proxy.SEAMS,
    *machine_role.SEAMS,
    *timeouts.SEAMS,
    *activities.SEAMS,
    *apigateway_invoke.SEAMS,
    *sdk_task.SEAMS,
    *task_tokens.SEAMS,
    *connections.SEAMS,
    *connection_resource.SEAMS,
    *role_permissions.SEAMS,
    *http_invoke.SEAMS,
    *composite_alarms.SEAMS,
    *budgets.SEAMS,
    *volumes.SEAMS,
    *oidc_providers.SEAMS,
    *pseudo_parameters.SEAMS,
    *change_set_conditions.SEAMS,
)


@asynccontextmanager
async def installed(app: Any, *, retained_executions: int, retained_input_bytes: int) -> AsyncIterator[None]:
    """Install every hook into the ministack of *app*, once per process."""
    check_version()
    for seam in SEAMS:
        seam.check()
    client = AsgiClient(app)
    root_key.install()
    forbidden.install()
    provisioning.install()
    jsonata_engine.install()
    error_matching.install()
    start_execution.install(retained=retained_executions, retained_input_bytes=retained_input_bytes)
    event_log.install()
    express_workflows.install()
    stopped_executions.install()
    service_integrations.install(client)
    machine_role.install()
    timeouts.install()
    activities.install()
    apigateway_invoke.install(client)
    sdk_task.install(client)
    task_tokens.install()
    connections.install()
    connection_resource.install()
    composite_alarms.install()
    budgets.install()
    volumes.install()
    oidc_providers.install()
    # Before the hook that evaluates conditions too.
    pseudo_parameters.install()
    change_set_conditions.install()
    async with http_proxy.installed(), http_invoke.installed(client):
        yield

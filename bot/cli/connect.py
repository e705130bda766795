"""From the settings to the API that starts executions: the deployed one, or that of this single machine."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import structlog
from botocore.credentials import ReadOnlyCredentials

from bot.api.credentials import ChainCredentials
from bot.api.region import resolve_region
from bot.api.target import FixedCredentials, Target
from bot.errors import SettingsError
from bot.settings.aws import open_session
from bot.settings.definitions import find_definitions
from bot.settings.settings import ApiSettings, Settings
from bot.settings.values import WEBHOOK_MISSING
from bot.telemetry.redaction import Redactor


@asynccontextmanager
async def connect(
    settings: ApiSettings | Settings, redactor: Redactor, workflows: Collection[str] = ()
) -> AsyncIterator[Target]:
    """Yield the API of the settings; without one, start an embedded AWS and deploy the templates to it.

    *workflows* are then deployed beside the relay. Raises SettingsError if neither is possible.
    """
    if settings.api_endpoint is None:
        async with _single_machine(settings, redactor, workflows) as target:
            yield target
        return
    region = await asyncio.to_thread(
        resolve_region, settings.api_endpoint, settings.aws_region, open_session=open_session
    )
    credentials = ChainCredentials(add_secret=redactor.add, open_session=open_session)
    yield Target(settings.api_endpoint, region, credentials)


@asynccontextmanager
async def _single_machine(
    settings: ApiSettings | Settings, redactor: Redactor, workflows: Collection[str]
) -> AsyncIterator[Target]:
    try:
        from bot.cli.first_logins import first_logins
        from infra.deploy.workflow_stack import load_workflow
        from infra.local.connections import load_connections
        from infra.local.machine import single_machine
    except ModuleNotFoundError as error:
        problem = (
            f"VOICE_RELAY_API_ENDPOINT is not set, and single-machine mode lacks the package {error.name}: "
            "set it to the stack's ApiEndpoint, or install voice-relay[local]"
        )
        raise SettingsError([problem]) from error
    if settings.webhook_url is None:
        raise SettingsError([f"VOICE_RELAY_WEBHOOK_URL {WEBHOOK_MISSING}"])
    definitions = find_definitions(settings.workflows_dir)
    own = [load_workflow(name, definitions.get(name)) for name in sorted(workflows)]
    connections = load_connections(settings.connections_file)
    for connection in connections.values():
        for credential in connection.credentials.values():
            redactor.add(credential.get_secret_value())
    log = structlog.get_logger(__name__)
    log.info("single_machine_starting", workflows=[workflow.name for workflow in own])
    acts = isinstance(settings, Settings) and bool(settings.actions)
    parameters = {"Actions": "true"} if acts else {}
    async with single_machine(
        webhook_url=settings.webhook_url, parameters=parameters, workflows=own, connections=connections
    ) as machine:
        key = machine.credentials
        redactor.add(key.secret_access_key)
        log.info("single_machine_ready")
        for name, reason in machine.unconnected.items():
            log.warning(
                "api_not_connected",
                workflow=name,
                reason=reason,
                next=f"check [{name}] in the file VOICE_RELAY_CONNECTIONS_FILE and restart the relay; "
                "events wait until then",
            )
        credentials = ReadOnlyCredentials(key.access_key_id, key.secret_access_key, key.session_token)
        async with first_logins(machine.aws.client, machine.refreshes):
            yield Target(
                machine.api_endpoint,
                machine.region,
                FixedCredentials(credentials),
                states_url=machine.aws.endpoint_url,
                activity_arn=machine.outputs.get("ActionsActivityArn"),
            )

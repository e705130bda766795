"""Deploys a connection to the API of a third party: its secret, its stack, and for a login a first token."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from bot.errors import SettingsError
from infra.deploy.aws_errors import DeployError, explained
from infra.deploy.credentials import (
    KINDS,
    Credentials,
    HeldCredentials,
    load_credentials,
    mask,
    new_version,
    secret_name,
    write_credentials,
)
from infra.deploy.engine import ClientFactory, DeployOptions, Plan, deploy_template
from infra.deploy.stack import Stack
from infra.deploy.stack_events import StackEvent, ignore
from infra.deploy.stack_kinds import CONNECTION, STACK_KINDS
from infra.deploy.template import load_template

# Finds the credentials of a kind of authorisation; None if they are given nowhere.
FindCredentials = Callable[[str], Credentials | None]

KIND: Final = STACK_KINDS[CONNECTION]
# The refresh workflow tries for two hours; a deployment reports a failed login sooner.
_LOGIN_TIMEOUT_S: Final = 300.0


def deploy_connection(
    client: ClientFactory,
    *,
    stack_name: str,
    parameters: Mapping[str, str],
    find: FindCredentials,
    renew: bool = False,
    try_login: bool = True,
    options: DeployOptions | None = None,
) -> dict[str, str]:
    """Create or update the connection's stack and return its outputs.

    *find* is asked for credentials where the secret lacks them or if they are to *renew*, which has a
    connection without any authorised again. With *try_login*, the first token is fetched at once; otherwise
    the first call's 401 has it fetched. Raises DeployError, DeclinedError, and SettingsError if there are
    none.
    """
    options = options or DeployOptions()
    stack = Stack(client("cloudformation"), stack_name, on_event=ignore, poll_s=options.poll_s)
    present = stack.parameters()
    auth = parameters.get("Auth") or present.get("Auth", "")
    if auth not in KINDS:
        raise SettingsError([f"say with --auth how the API recognises its caller: {', '.join(KINDS)}"])
    secrets = client("secretsmanager")
    if KINDS[auth]:
        held = load_credentials(secrets, secret_name(stack_name))
    else:
        held = HeldCredentials("", version=new_version() if renew else present.get("SecretVersion"))
    change = _Change(secrets, held, _find_missing(held, auth, find, renew=renew), options)
    with change.masked():
        outputs = deploy_template(
            client,
            load_template(KIND.template),
            stack_name=stack_name,
            parameters={"Secret": held.name, "SecretVersion": change.version, **parameters},
            options=replace(options, review=change.review, on_event=change.report),
        )
    if change.was_approved and options.wait and try_login and auth == "login":
        failure = log_in(client, outputs["Renewal"], sleep=options.sleep, poll_s=options.poll_s)
        if failure is not None:
            raise DeployError(
                f"the connection is deployed, but {failure}: correct the parameters, or give other "
                "credentials with --renew-credentials"
            )
    return outputs


class _Change:
    """One change of a connection: writes the credentials *given* once the review has approved it."""

    def __init__(
        self, secrets: Any, held: HeldCredentials, given: Credentials, options: DeployOptions
    ) -> None:
        self.version = new_version() if given else held.version or ""
        self.was_approved = False
        self._secrets = secrets
        self._held = held
        self._given = given
        self._options = options
        self._values = [*held.values.values(), *(value.get_secret_value() for value in given.values())]

    def review(self, plan: Plan) -> bool:
        self.was_approved = self._options.review(plan)
        if self.was_approved and self._given:
            write_credentials(self._secrets, self._held, self._given, self.version)
        return self.was_approved

    def report(self, event: StackEvent) -> None:
        self._options.on_event(replace(event, reason=mask(event.reason, self._values)))

    @contextmanager
    def masked(self) -> Iterator[None]:
        """Mask credentials in any DeployError from the block."""
        try:
            yield
        except DeployError as error:
            raise DeployError(mask(str(error), self._values)) from None


def _find_missing(held: HeldCredentials, auth: str, find: FindCredentials, *, renew: bool) -> Credentials:
    if not KINDS[auth] or (held.suits(auth) and not renew):
        return {}
    found = find(auth)
    if found is None:
        wanted = ", ".join(KINDS[auth])
        raise SettingsError(
            [f"--auth {auth} needs credentials: give a JSON file with {wanted} as --credentials-file"]
        )
    return found


def log_in(
    client: ClientFactory, refresh_arn: str, *, sleep: Callable[[float], None], poll_s: float
) -> str | None:
    """Have the refresh workflow fetch a token, and return why it could not; raises DeployError.

    A change of the connection puts the template's placeholder in the token's place.
    """
    states: Any = client("stepfunctions")
    with explained("could not log in"):
        arn = states.start_execution(stateMachineArn=refresh_arn, name=f"deploy-{new_version()}", input="{}")[
            "executionArn"
        ]
        deadline = time.monotonic() + _LOGIN_TIMEOUT_S
        while (execution := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
            if time.monotonic() > deadline:
                return f"its login has not succeeded yet; see execution {arn}"
            sleep(poll_s)
    return None if execution["status"] == "SUCCEEDED" else execution.get("cause") or execution["status"]

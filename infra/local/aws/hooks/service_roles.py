"""Roles that a service assumes, checked against the trust policy for that service.

ministack's own AssumeRole lets root assume a role whose trust policy names any ``Service`` principal.
"""

import time
from collections.abc import Callable
from typing import Any

from infra.local.aws.credentials import Credentials
from infra.local.aws.hooks.seam import Seam, module

SEAMS = (
    Seam(
        "ministack.core.iam_evaluator",
        "evaluate_resource_policy",
        ("doc", "ctx", "service", "named_only", "direct_only"),
    ),
    Seam("ministack.services.sts", "register_session", ("access_key", "session")),
    Seam("ministack.services.iam", "_gen_session_access_key", ()),
    Seam("ministack.services.iam", "_gen_secret", ()),
    Seam("ministack.services.iam", "_gen_session_token", ()),
)

SESSION_S = 3600.0
_RENEW_BEFORE_S = 600.0


class NotTrusted(Exception):
    """The role does not exist, or its trust policy does not let the service assume it."""


class ServiceRoles:
    """Temporary credentials of roles for one *service* principal, such as ``states.amazonaws.com``."""

    def __init__(self, service: str, session_name: str, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._service = service
        self._session_name = session_name
        self._sessions: dict[str, tuple[float, Credentials]] = {}

    def assume(self, role_arn: str, *, source_arn: str, region: str) -> Credentials:
        """Return credentials of the role on behalf of the resource *source_arn*; raises NotTrusted."""
        # Only the credentials are cached. Trust is checked every time, so that a changed trust policy takes
        # effect immediately; on AWS the old credentials would stay valid for a while.
        role_id = self._trusted_role_id(role_arn, source_arn, region)
        expires, credentials = self._sessions.get(role_id, (0.0, None))
        if credentials is None or self._now() > expires - _RENEW_BEFORE_S:
            expires, credentials = self._now() + SESSION_S, self._new_session(role_arn, role_id)
            self._sessions[role_id] = expires, credentials
        return credentials

    def _trusted_role_id(self, role_arn: str, source_arn: str, region: str) -> str:
        account, _, resource = role_arn.removeprefix("arn:aws:iam::").partition(":")
        role = module("ministack.services.iam")._roles.get_scoped(account, None, resource.rpartition("/")[2])
        if role is None:
            raise NotTrusted(role_arn)
        iam = module("ministack.core.iam_evaluator")
        context = iam.EvalContext(
            principal_arn=self._service,
            principal_type="Service",
            principal_account=account,
            action="sts:AssumeRole",
            resource_arn=role_arn,
            region=region,
            service_context={"aws:sourcearn": source_arn, "aws:sourceaccount": source_arn.split(":")[4]},
        )
        policy: Any = role["AssumeRolePolicyDocument"]
        if iam.evaluate_resource_policy(policy, context, service=self._service).decision != "Allow":
            raise NotTrusted(role_arn)
        return str(role["RoleId"])

    def _new_session(self, role_arn: str, role_id: str) -> Credentials:
        iam = module("ministack.services.iam")
        credentials = Credentials(
            access_key_id=iam._gen_session_access_key(),
            secret_access_key=iam._gen_secret(),
            session_token=iam._gen_session_token(),
        )
        account, role_name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
        session: dict[str, Any] = {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role_name}/{self._session_name}",
            "UserId": f"{role_id}:{self._session_name}",
            "SecretAccessKey": credentials.secret_access_key,
            "SessionToken": credentials.session_token,
            "Expiration": self._now() + SESSION_S,
            "AccountId": account,
            "PrincipalType": "AssumedRole",
            "SourcePrincipalArn": self._service,
            "SessionTags": [],
            "SessionPolicies": None,
        }
        module("ministack.services.sts").register_session(credentials.access_key_id, session)
        return credentials

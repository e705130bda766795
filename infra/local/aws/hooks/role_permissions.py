"""What a role's policies allow, for actions that a service checks without calling an API of AWS."""

from collections.abc import Mapping

from infra.local.aws.credentials import Credentials
from infra.local.aws.hooks.seam import Seam, module

_IAM = "ministack.core.iam_evaluator"
SEAMS = (
    Seam(_IAM, "resolve_principal", ("access_key_id", "account_id", "credential")),
    Seam(_IAM, "evaluate", ("ctx", "policies", "limits")),
)


def is_allowed(
    who: Credentials, action: str, resource_arn: str, *, conditions: Mapping[str, str] | None = None
) -> bool:
    """Say whether *who*, a role's session, may do *action*; *conditions* maps condition keys to values."""
    iam = module(_IAM)
    account, region = resource_arn.split(":")[4], resource_arn.split(":")[3]
    principal = iam.resolve_principal(who.access_key_id, account)
    if isinstance(principal, iam.AuthError):
        return False
    context = iam.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=action,
        resource_arn=resource_arn,
        region=region,
        service_context={name.lower(): value for name, value in (conditions or {}).items()},
        principal_keys=principal.keys,
    )
    decision: str = iam.evaluate(context, principal.policies, *principal.limits).decision
    return decision == "Allow"

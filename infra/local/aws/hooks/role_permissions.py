"""What a role's policies allow, for actions that a service checks without calling an API of AWS."""

from collections.abc import Iterable, Mapping

from infra.local.aws.credentials import Credentials
from infra.local.aws.hooks.seam import Seam, module

_IAM = "ministack.core.iam_evaluator"
SEAMS = (
    Seam(_IAM, "resolve_principal", ("access_key_id", "account_id", "credential")),
    Seam(_IAM, "evaluate", ("ctx", "policies", "limits")),
    Seam(_IAM, "caller_arn", ()),
    Seam(_IAM, "_role_name_from_assumed_arn", ("assumed_arn",)),
    Seam(_IAM, "_gather_role_policies", ("role_name", "account_id")),
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


def role_of_caller_lacks(actions: Iterable[str], resource_arn: str) -> str | None:
    """Return the first of *actions* that the role behind the current request may not do.

    For what a service does with its caller's permissions. Other callers lack nothing.
    """
    iam = module(_IAM)
    arn: str = iam.caller_arn()
    if ":assumed-role/" not in arn:
        return None
    account, region = arn.split(":")[4], resource_arn.split(":")[3]
    policies = iam._gather_role_policies(iam._role_name_from_assumed_arn(arn), account)
    for action in actions:
        context = iam.EvalContext(arn, "AssumedRole", account, action, resource_arn, region)
        if iam.evaluate(context, policies).decision != "Allow":
            return action
    return None

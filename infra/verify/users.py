"""The users that a verification calls as. Their keys stay in memory and are deleted with them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from botocore.credentials import ReadOnlyCredentials

from infra.deploy.aws_errors import explained

BOT: Final = "bot"
OPERATOR: Final = "operator"
STRANGER: Final = "stranger"
"""A user without any policy."""

OF_ACTIVITY: Final = "activity"
OF_MACHINE: Final = "machine"
ANY: Final = "any"
"""Users who may send a task's success: for one activity, for one state machine, for anything."""
USERS: Final = (BOT, OPERATOR, STRANGER, OF_ACTIVITY, OF_MACHINE, ANY)

Statement = Mapping[str, Any]
_POLICY: Final = "verify"


def create_user(
    iam: Any, name: str, *, policies: Sequence[str] = (), statement: Statement | None = None
) -> ReadOnlyCredentials:
    """Create the user with these managed *policies* and a *statement* of its own; return its key."""
    with explained(f"user {name}"):
        iam.create_user(UserName=name)
        for policy in policies:
            iam.attach_user_policy(UserName=name, PolicyArn=policy)
        if statement is not None:
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName=name, PolicyName=_POLICY, PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
    return ReadOnlyCredentials(key["AccessKeyId"], key["SecretAccessKey"], None)


def delete_user(iam: Any, name: str) -> bool:
    """Delete the user with its keys and policies; return whether it existed. Raises DeployError."""
    with explained(f"user {name}"):
        try:
            iam.get_user(UserName=name)
        except iam.exceptions.NoSuchEntityException:
            return False
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        for policy in iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
            iam.detach_user_policy(UserName=name, PolicyArn=policy["PolicyArn"])
        for inline in iam.list_user_policies(UserName=name)["PolicyNames"]:
            iam.delete_user_policy(UserName=name, PolicyName=inline)
        iam.delete_user(UserName=name)
    return True

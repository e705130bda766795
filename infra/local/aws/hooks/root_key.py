"""Makes the key generated for this run the only root key, and verifies its signature like any other.

ministack accepts the key ``test``, any key of twelve digits and an empty one as root, and never checks a
signature by root's key. On a shared machine, either would give other users the webhook URL.
"""

import os
from typing import Any

from infra.local.aws.hooks.seam import Seam, module

_EVALUATOR = "ministack.core.iam_evaluator"
_IS_ROOT = Seam(_EVALUATOR, "is_root_access_key", ("access_key_id",))
# Asked before the signature is checked, to skip the check, and afterwards, to name the caller.
_IS_ROOT_CALLER = Seam(_EVALUATOR, "_is_root_key", ("access_key_id",))
_RESOLVE = Seam(_EVALUATOR, "resolve_principal", ("access_key_id", "account_id", "credential"))
SEAMS = (
    _IS_ROOT,
    _IS_ROOT_CALLER,
    _RESOLVE,
    # Forgets the verified key of an earlier request, and keeps this one for the check.
    Seam(
        _EVALUATOR, "pin_signed_request", ("method", "raw_path", "query_params", "raw_headers", "handshake")
    ),
    Seam(_EVALUATOR, "authenticate", ("access_key_id", "account_id")),
)


def install() -> None:
    root_key = os.environ["AWS_ACCESS_KEY_ID"]
    evaluator = module(_EVALUATOR)
    verified_key = evaluator._verified_key
    resolve = _RESOLVE.original()

    def is_root(access_key_id: str) -> bool:
        return access_key_id == root_key

    def is_verified_root(access_key_id: str) -> bool:
        return is_root(access_key_id) and verified_key.get() == access_key_id

    def resolve_principal(access_key_id: str, account_id: str, credential: Any = None) -> Any:
        # Some requests name a key without a signature that ministack would check, such as a presigned S3
        # query sent to another service.
        if is_root(access_key_id) and not is_verified_root(access_key_id):
            unknown = evaluator._unknown_access_key()
            return evaluator.AuthError(unknown.code, unknown.message)
        return resolve(access_key_id, account_id, credential)

    _IS_ROOT.replace(is_root)
    _IS_ROOT_CALLER.replace(is_verified_root)
    _RESOLVE.replace(resolve_principal)

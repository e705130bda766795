"""Makes the key generated for this run the only root key.

ministack accepts the key ``test``, any key of twelve digits and an empty one as root, without checking the
signature. On a shared machine, that would give other users the webhook URL.
"""

import os

from infra.local.aws.hooks.seam import Seam

_IS_ROOT = Seam("ministack.core.iam_evaluator", "is_root_access_key", ("access_key_id",))
SEAMS = (_IS_ROOT,)


def install() -> None:
    root_key = os.environ["AWS_ACCESS_KEY_ID"]

    def is_root(access_key_id: str) -> bool:
        return access_key_id == root_key

    _IS_ROOT.replace(is_root)

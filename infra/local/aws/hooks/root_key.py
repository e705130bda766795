"""Only the key made for this run is root.

ministack lets the key ``test``, any key of twelve digits and an empty one in as root, with no signature
looked at. On a machine with other users that would hand them the webhook's URL.
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

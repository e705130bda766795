"""``AWS::IAM::OIDCProvider`` for CloudFormation, built on ministack's IAM API."""

import re
from typing import Any

from infra.local.aws.hooks.responses import read_body
from infra.local.aws.hooks.seam import Seam, module

_IAM = "ministack.services.iam"
_PROVISIONERS = "ministack.services.cloudformation.provisioners"
SEAMS = (
    Seam(_IAM, "_create_oidc_provider", ("p",)),
    Seam(_IAM, "_delete_oidc_provider", ("p",)),
    # Reads the table of resource types that this hook extends.
    Seam(_PROVISIONERS, "_provision_resource", ("resource_type", "logical_id", "props", "stack_name")),
)

_ARN = re.compile(r"<OpenIDConnectProviderArn>([^<]+)<")


def install() -> None:
    iam = module(_IAM)

    def create(_logical_id: str, props: dict[str, Any], _stack_name: str) -> tuple[str, dict[str, str]]:
        asked = {"Url": props["Url"]}
        for name, key in (("ClientIdList", "ClientIDList"), ("ThumbprintList", "ThumbprintList")):
            asked |= {f"{key}.member.{n}": value for n, value in enumerate(props.get(name) or (), start=1)}
        (arn,) = _ARN.findall(read_body(iam._create_oidc_provider(asked)))
        return arn, {"Arn": arn}

    def delete(physical_id: str, _props: dict[str, Any]) -> None:
        read_body(iam._delete_oidc_provider({"OpenIDConnectProviderArn": physical_id}))

    module(_PROVISIONERS)._RESOURCE_HANDLERS["AWS::IAM::OIDCProvider"] = {"create": create, "delete": delete}

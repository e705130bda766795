"""An HTTP API refuses with 403 ``{"message":"Forbidden"}`` and not a word more; ministack explains itself.

It also asks for permission before it looks for the route, where AWS answers an unknown one with 404.
"""

# facts: API Gateway, IAM authorisation; https://github.com/aws/aws-cdk/issues/21182

import base64
import os
from typing import Any

from infra.local.aws.hooks.seam import Seam, module

_ENFORCE = Seam(
    "ministack.app",
    "_enforce_execute_api",
    ("api_id", "stage", "method", "execute_path", "headers", "query_params", "iam_action"),
)
SEAMS = (
    _ENFORCE,
    Seam("ministack.services.apigateway", "find_api_scope", ("api_id",)),
    Seam("ministack.services.apigateway", "route_authorization_type", ("api_id", "stage", "method", "path")),
)

_FORBIDDEN = b'{"message":"Forbidden"}'


def install() -> None:
    ask = _ENFORCE.original()
    apis = module("ministack.services.apigateway")

    def enforce(
        api_id: str,
        stage: str,
        method: str,
        execute_path: str,
        headers: Any,
        query_params: Any,
        **kwargs: Any,
    ) -> Any:
        denied = ask(api_id, stage, method, execute_path, headers, query_params, **kwargs)
        if denied is None or apis.find_api_scope(api_id) is None:
            return denied
        if apis.route_authorization_type(api_id, stage, method, execute_path) is None:
            return None
        # With this one there, ministack adds no request ids of other kinds.
        request_id = base64.b64encode(os.urandom(11)).decode()
        return 403, {"Content-Type": "application/json", "apigw-requestid": request_id}, _FORBIDDEN

    _ENFORCE.replace(enforce)

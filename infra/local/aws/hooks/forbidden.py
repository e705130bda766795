"""Makes HTTP APIs refuse with a plain 403 ``{"message":"Forbidden"}``, where ministack adds the reason.

ministack also checks permissions before the route, where AWS answers 404 for an unknown route, and accepts
signatures scoped to another service.
"""

# facts: API Gateway, IAM authorisation; https://github.com/aws/aws-cdk/issues/21182

import base64
import os
import re
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
    Seam("ministack.services.apigateway_v1", "find_api_scope", ("api_id",)),
    Seam("ministack.services.apigateway", "route_authorization_type", ("api_id", "stage", "method", "path")),
)

_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/[a-z0-9-]+/execute-api/aws4_request")


def install() -> None:
    ask = _ENFORCE.original()
    http_apis = module("ministack.services.apigateway")
    rest_apis = module("ministack.services.apigateway_v1")

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
        if rest_apis.find_api_scope(api_id) is not None:
            return denied
        if http_apis.find_api_scope(api_id) is not None:
            authorization = http_apis.route_authorization_type(api_id, stage, method, execute_path)
            if authorization is None:
                return None
            if authorization == "AWS_IAM" and not _for_execute_api(headers.get("authorization", "")):
                return _forbidden()
        return _forbidden() if denied else None

    _ENFORCE.replace(enforce)


def _for_execute_api(authorization: str) -> bool:
    """Whether the signature is scoped to API Gateway."""
    return _SCOPE.search(authorization) is not None


def _forbidden() -> tuple[int, dict[str, str], bytes]:
    # This header keeps ministack from adding other request ids.
    request_id = base64.b64encode(os.urandom(11)).decode()
    return (
        403,
        {"Content-Type": "application/json", "apigw-requestid": request_id},
        b'{"message":"Forbidden"}',
    )

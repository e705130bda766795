"""Makes CloudFormation keep an integration's subtype and role, and an API's CORS settings.

ministack's provisioner drops the first two and stores the last under keys that nothing reads.
"""

from collections.abc import Callable
from typing import Any

from infra.local.aws.hooks.seam import Seam, module

_PROVISIONERS = "ministack.services.cloudformation.provisioners"
_PROPERTIES = Seam(_PROVISIONERS, "_apigw_v2_integration_props", ("props",))
_UPDATE = Seam("ministack.services.apigateway", "_update_integration", ("api_id", "int_id", "data"))
SEAMS = (
    _PROPERTIES,
    _UPDATE,
    Seam(_PROVISIONERS, "_apigw_v2_api_create", ("logical_id", "props", "stack_name")),
    Seam(
        _PROVISIONERS,
        "_apigw_v2_api_update",
        ("physical_id", "old_props", "new_props", "stack_name", "logical_id"),
    ),
)

_KEPT = {"IntegrationSubtype": "integrationSubtype", "CredentialsArn": "credentialsArn"}


def install() -> None:
    properties = _PROPERTIES.original()
    update = _UPDATE.original()
    apis = module("ministack.services.apigateway")

    def integration_properties(props: dict[str, Any]) -> Any:
        return properties(props) | {ours: props[theirs] for theirs, ours in _KEPT.items() if theirs in props}

    def update_integration(api_id: str, int_id: str, data: dict[str, Any]) -> Any:
        response = update(api_id, int_id, data)
        stored = apis._integrations.get(api_id, {}).get(int_id)
        if stored is not None:
            stored.update({name: data[name] for name in _KEPT.values() if name in data})
        return response

    def with_cors(provision: Callable[..., Any]) -> Callable[..., Any]:
        def provisioned(*args: Any, **kwargs: Any) -> Any:
            made = provision(*args, **kwargs)
            api = apis._apis[made[0]]
            cors = api.get("corsConfiguration") or {}
            if cors:
                api["corsConfiguration"] = {name[0].lower() + name[1:]: cors[name] for name in cors}
            return made

        return provisioned

    handlers = module(_PROVISIONERS)._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]
    handlers.update({step: with_cors(handlers[step]) for step in ("create", "update")})
    _PROPERTIES.replace(integration_properties)
    _UPDATE.replace(update_integration)

"""CloudFormation keeps an integration's subtype and role; ministack's provisioner drops both."""

from typing import Any

from infra.local.aws.hooks.seam import Seam, module

_PROPERTIES = Seam(
    "ministack.services.cloudformation.provisioners", "_apigw_v2_integration_props", ("props",)
)
_UPDATE = Seam("ministack.services.apigateway", "_update_integration", ("api_id", "int_id", "data"))
SEAMS = (_PROPERTIES, _UPDATE)

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

    _PROPERTIES.replace(integration_properties)
    _UPDATE.replace(update_integration)

"""Reads a CloudFormation template's YAML, including short forms of intrinsic functions and loops."""

from typing import Any

import yaml
from ministack.services.cloudformation import language_extensions


class _Loader(yaml.SafeLoader):
    """Reads short forms such as ``!Sub``."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        if name == "Fn::GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    return {name: value}


yaml.add_multi_constructor("!", _intrinsic, Loader=_Loader)


def load_template(text: str) -> dict[str, Any]:
    """Return the template as CloudFormation sees it."""
    loaded = yaml.load(text, Loader=_Loader)  # noqa: S506
    if not isinstance(loaded, dict):
        raise TypeError("a template must be a mapping")
    return loaded


def expand(template: dict[str, Any], **parameters: str) -> dict[str, Any]:
    """Return the template after its transform, with *parameters*, else their defaults, in its loops."""
    defaults = {name: str(declared.get("Default", "")) for name, declared in template["Parameters"].items()}
    expanded: dict[str, Any] = language_extensions.apply(template, defaults | parameters)  # type: ignore[no-untyped-call]
    return expanded

"""CloudFormation makes one resource of an API at a time.

In parallel, API Gateway may refuse one of them because of a concurrent modification.
"""

import itertools
import json
import re
from typing import Any

import pytest

from infra.deploy.engine import TEMPLATE
from tooling.template_yaml import expand, load_template

RESOURCES: dict[str, Any] = expand(load_template(TEMPLATE.read_text()), Destinations="default,mods")[
    "Resources"
]
PARTS = ("Integration", "Route", "Stage")


def parts(api: str) -> list[str]:
    return [
        name
        for name, resource in RESOURCES.items()
        if resource["Type"] in {f"AWS::ApiGatewayV2::{part}" for part in PARTS}
        and resource["Properties"]["ApiId"] == {"Ref": api}
    ]


def waits_for(name: str) -> set[str]:
    """Return what exists before the resource is made: what it depends on or refers to, and so on."""
    resource = RESOURCES[name]
    on = resource.get("DependsOn", [])
    text = json.dumps(resource["Properties"])
    found = re.findall(r'"Ref": "(\w+)"|\$\{(\w+)\}|"Fn::GetAtt": \["(\w+)"', text)
    near = {*([on] if isinstance(on, str) else on), *itertools.chain.from_iterable(found)} & RESOURCES.keys()
    return near.union(*(waits_for(each) for each in near))


@pytest.mark.parametrize("api", ["IngressApi", "ProxyApi"])
def test_makes_parts_in_a_row(api: str) -> None:
    """Any two parts wait for one another, except those of different destinations: a loop has no order."""
    names = parts(api)
    assert len(names) > 4
    together = {
        (first, second)
        for first, second in itertools.combinations(sorted(names), 2)
        if second not in waits_for(first) and first not in waits_for(second)
    }
    assert {pair for pair in together if destinations(*pair) != {"default", "mods"}} == set()


def destinations(*names: str) -> set[str]:
    return {match[1] for name in names if (match := re.match(r"To(\w+?)(?:Integration|Route)$", name))}

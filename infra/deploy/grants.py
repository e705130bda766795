"""What a workflow may be granted, and how its definition shows that it needs it.

    grant   option    placeholder                    tasks
    posts   --posts   ${WebhookProxyHost}            apigateway:invoke
    acts    --acts    ${ActionsActivity}             that activity
    waits   --waits   ${WaitsTable}                  aws-sdk:dynamodb:putItem.waitForTaskToken
    calls   --calls   ${ConnectionArn}, ${CallUrl}   http:invoke
                      ${Renewal}

A task of another kind needs permissions of its own.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Grant:
    """One of them; ``parameter`` is the template's, and ``does`` says in words what the workflow does."""

    option: str
    parameter: str
    placeholders: frozenset[str]
    task: re.Pattern[str]
    does: str


def _grant(option: str, parameter: str, placeholders: tuple[str, ...], task: str, does: str) -> Grant:
    return Grant(option, parameter, frozenset(placeholders), re.compile(task), does)


GRANTS: Final = (
    _grant("posts", "Posts", ("WebhookProxyHost",), r"arn:.*:states:::apigateway:invoke", "posts to Discord"),
    _grant("acts", "Acts", ("ActionsActivity",), r"\$\{ActionsActivity\}", "has the bot act in Discord"),
    _grant(
        *("waits", "Waits", ("WaitsTable",)),
        r"arn:.*:states:::(?:aws-sdk:)?dynamodb:putItem(?:\.waitForTaskToken)?",
        "waits for signals",
    ),
    _grant(
        *("calls", "Connection", ("ConnectionArn", "CallUrl", "Renewal")),
        r"arn:.*:states:::http:invoke",
        "calls another API",
    ),
)

ALWAYS_KNOWN: Final = frozenset({"Partition", "Region", "AccountId"})
"""Placeholders that the stack fills in for every workflow."""
KNOWN: Final = ALWAYS_KNOWN.union(*(grant.placeholders for grant in GRANTS))


def find_needed(placeholders: Collection[str]) -> frozenset[str]:
    """Return the options of the grants that a definition with these *placeholders* needs."""
    return frozenset(grant.option for grant in GRANTS if grant.placeholders.intersection(placeholders))


def find_ungranted(tasks: Mapping[str, Any], granted: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the resource of each of the *tasks* that none of the *granted* options covers."""
    known = [grant.task for grant in GRANTS if grant.option in granted]
    for name, task in tasks.items():
        resource = str(task.get("Resource"))
        if not any(task.fullmatch(resource) for task in known):
            yield name, resource


def find_actions(tasks: Mapping[str, Any]) -> list[str]:
    """Return the actions that the *tasks* ask of the bot, sorted; a computed one is not known before."""
    asked = [task for task in tasks.values() if str(task.get("Resource")) == "${ActionsActivity}"]
    given = [(task.get("Arguments") or task.get("Parameters") or {}).get("action") for task in asked]
    return sorted({action for action in given if isinstance(action, str) and re.fullmatch(r"\w+", action)})


def find_methods(tasks: Mapping[str, Any]) -> list[str]:
    """Return the HTTP methods with which the *tasks* call, sorted; a computed one is not known before."""
    calls = [task for task in tasks.values() if str(task.get("Resource")).endswith(":states:::http:invoke")]
    given = [(task.get("Arguments") or task.get("Parameters") or {}).get("Method") for task in calls]
    return sorted({method for method in given if isinstance(method, str) and method.isalpha()})

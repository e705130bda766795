"""What a deployment would change, and what is left to do after it."""

from typing import Final

from bot.cli.rules_view import render_rule_for
from infra.cli.stack_options import StackOptions
from infra.deploy.change_set import render_changes
from infra.deploy.engine import Plan
from infra.deploy.stack_kinds import StackKind
from workflow.registry import WORKFLOWS

_ALERTS: Final = "AlertEmail"


def render_plan(plan: Plan, kind: StackKind) -> list[str]:
    lines = [
        "This will be created:" if plan.change_set.creates else "This will change:",
        *render_changes(plan.change_set),
    ]
    if any(change.kind == "MAY REPLACE" for change in plan.change_set.changes):
        lines.append("AWS decides during the deployment which of the MAY REPLACE resources it replaces.")
    if plan.webhooks:
        words = ", ".join(f"{name} ({word})" for name, word in plan.webhooks.items())
        lines.append(f"Webhooks in the secret {plan.secret_name}: {words}")
    elif kind.is_relay:
        lines.append(f"Webhooks in the secret {plan.secret_name}: unchanged")
    return lines


def render_next(plan: Plan | None, stack: StackOptions) -> list[str]:
    """Return what to do once another stack than the relay's is deployed."""
    lines = [f"All outputs of the stack: voice-relay outputs {stack.title}"]
    changes = plan.change_set.parameters if plan is not None else ()
    lines += [
        f"AWS has sent a mail to {change.after}: confirm the subscription in it to receive alarms there."
        for change in changes
        if change.name == _ALERTS and change.after
    ]
    if stack.kind.is_workflow and stack.workflow in WORKFLOWS:
        lines.append(
            f'Send events to it with a rule that has workflow = "{stack.workflow}", or try it with '
            f"voice-relay send-test --workflow {stack.workflow}."
        )
    elif stack.kind.is_workflow:
        lines += [
            f"Try it with voice-relay send-test --workflow {stack.workflow}.",
            "Send events to it with a rule:",
            *render_rule_for(stack.workflow),
        ]
    if stack.kind.is_connection:
        lines.append(
            f"Let a workflow call through it: voice-relay deploy workflow report --calls {stack.workflow}"
        )
    return lines

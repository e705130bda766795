"""What the bot needs from a deployed relay, written to its settings: endpoint, destinations, access key."""

from collections.abc import Mapping

from bot.console import Console
from bot.settings.values import region_of
from infra.cli.stack_options import ACTIONS, ACTIVITY, DESTINATIONS, ENDPOINT, REGION, WORKFLOWS
from infra.deploy.access_key import AccessKeys, ensure_key
from infra.deploy.account import Account
from infra.deploy.aws_errors import DeployError
from infra.deploy.env_file import EnvFile


def hand_over_endpoint(env_file: EnvFile, outputs: Mapping[str, str], region: str, console: Console) -> None:
    """Write the endpoint, the destinations and the activity that exist.

    And the region, if the endpoint's name does not tell it or the file has another.
    """
    held, endpoint = env_file.values(), outputs["ApiEndpoint"]
    values = {ENDPOINT: endpoint, DESTINATIONS: outputs["DestinationNames"]}
    if region_of(endpoint) is None or held.get(REGION, region) != region:
        values[REGION] = region
    activity = outputs.get("ActionsActivityArn", "")
    if activity or ACTIVITY in held:
        values[ACTIVITY] = activity
    before = {name: f" (it was {held[name]})" if name in held else "" for name in values}
    console.say(*[f"Wrote {name} to {env_file.path}{before[name]}." for name in env_file.write(values)])
    if activity and ACTIONS not in held:
        console.hint(f"the bot performs no action for workflows until {ACTIONS} in {env_file.path} names it")


def hand_over_workflow(env_file: EnvFile | None, name: str, console: Console) -> None:
    """Add the workflow to those that rules may name."""
    names = _read_workflows(env_file)
    if env_file is not None and name not in names:
        env_file.write({WORKFLOWS: ",".join([*names, name])})
        console.say(f"Added {name} to {WORKFLOWS} in {env_file.path}.")


def take_back_workflow(env_file: EnvFile | None, name: str, console: Console) -> None:
    """Remove the workflow from those that rules may name."""
    names = _read_workflows(env_file)
    if env_file is not None and name in names:
        env_file.write({WORKFLOWS: ",".join(each for each in names if each != name)})
        console.say(f"Removed {name} from {WORKFLOWS} in {env_file.path}.")


def _read_workflows(env_file: EnvFile | None) -> list[str]:
    listed = env_file.values().get(WORKFLOWS, "") if env_file is not None else ""
    return [name.strip() for name in listed.split(",") if name.strip()]


def hand_over_key(
    env_file: EnvFile,
    outputs: Mapping[str, str],
    account: Account,
    console: Console,
    *,
    stack_name: str,
    rotate: bool,
) -> None:
    """Write an access key of the bot's user; raises DeployError if the stack has no such user."""
    user = outputs.get("BotUserName")
    if user is None:
        raise DeployError(
            f"stack {stack_name} has no output BotUserName, so no access key was made: see what it has with "
            "voice-relay outputs"
        )
    console.say(*ensure_key(AccessKeys(account.client("iam"), user), env_file, rotate=rotate))
    if env_file.readable_by_others():
        console.hint(f"others on this machine can read {env_file.path}: chmod 600 {env_file.path}")

"""The report workflow and the connections' stack on the embedded AWS, against a third party."""

import copy
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.local.aws import EmbeddedAws
from tests.integration.infra.relay import wait_for_execution
from tests.integration.workflow.calling import JOINED, Reports, new_reports
from tests.support.third_parties import ThreadedThirdParty, third_party
from tooling.costs import REPORT

KEY = JOINED["id"]
LEFT = JOINED | {"id": "01JD0000000000000000000001", "type": "discord.voice.left"}


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws(wait_scale=0.02) as aws:
        yield aws


@pytest.fixture
def party() -> Iterator[ThreadedThirdParty]:
    with third_party() as party:
        yield party


@pytest.fixture
def hook(aws: EmbeddedAws, party: ThreadedThirdParty) -> Reports:
    return new_reports(aws, party, "none")


@pytest.fixture
def login(aws: EmbeddedAws, party: ThreadedThirdParty) -> Reports:
    return new_reports(aws, party, "login")


@pytest.mark.parametrize("auth", ["none", "api-key", "basic", "oauth", "login"])
def test_reports_once_with_key(aws: EmbeddedAws, party: ThreadedThirdParty, auth: str) -> None:
    """Also where the server answers 206 to the Range header that Step Functions always sends."""
    reports = new_reports(aws, party, auth)
    party.honours_range = True

    first, again = reports.run(), reports.run()

    assert (first["status"], again["status"]) == ("SUCCEEDED", "SUCCEEDED"), first.get("cause")
    assert json.loads(again["output"]) == {"reported": 1, "status": 206}
    assert party.told == {KEY: JOINED}


def test_flat_format_has_one_level(hook: Reports) -> None:
    ended = hook.run(parameters={"format": "flat", "fields": {"list": "42", "id": "not this"}})

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert hook.party.told[KEY] == {
        "list": "42",
        "id": KEY,
        "type": "discord.voice.joined",
        "time": "2026-11-21T07:00:00.123Z",
        "guild_id": "41771983423143937",
        "guild_name": "Base",
        "user_id": "80351110224678912",
        "user_name": "Nelly",
        "channel_id": "127121515262115840",
        "channel_name": "General",
        "occupants": 2,
        "inferred": False,
    }


def test_batch_is_a_list_with_its_own_key(hook: Reports) -> None:
    ended = hook.run(JOINED, LEFT)

    assert json.loads(ended["output"])["reported"] == 2
    assert hook.party.told == {f"{KEY}+1": [JOINED, LEFT]}


def test_report_enters_two_states(hook: Reports) -> None:
    """What the table of costs is made from."""
    entered = hook.entered(hook.run()["executionArn"])

    assert entered == ["CanRenew", "LastCall"]
    assert len(entered) == REPORT.states


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_refusal_fails_with_words(hook: Reports, status: int) -> None:
    hook.party.answer_next(status, {"error": "no such list"})

    ended = hook.run()

    assert (ended["status"], ended["error"]) == ("FAILED", f"States.Http.StatusCode.{status}")
    assert json.loads(ended["cause"]) == {"error": "no such list"}
    assert hook.party.statuses == [status]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 524])
def test_busy_api_is_called_again(hook: Reports, status: int) -> None:
    hook.party.answer_next(status, "busy", times=2, headers={"Retry-After": "1"})

    assert hook.run()["status"] == "SUCCEEDED"
    assert hook.party.statuses == [status, status, 200]
    assert list(hook.party.told) == [KEY]


def test_lost_answer_reports_once(hook: Reports) -> None:
    """The API took the event and answered too late or with an error; the repeat has the same key."""
    assert hook.run()["status"] == "SUCCEEDED"
    hook.party.answer_next(504, "late")

    assert hook.run()["status"] == "SUCCEEDED"
    assert hook.party.statuses == [200, 504, 200]
    assert list(hook.party.told) == [KEY]


def test_slow_answer_reports_once(aws: EmbeddedAws, party: ThreadedThirdParty) -> None:
    """The API takes the event and answers too late; the repeat has the same key and no effect."""
    hook = new_reports(aws, party, "none", call_timeout_s=1)
    party.delay_next(3.0)

    assert hook.run()["status"] == "SUCCEEDED"
    assert party.told == {KEY: JOINED}
    assert party.repeats == 1


def test_api_that_is_down_is_waited_for(hook: Reports) -> None:
    hook.party.stop()
    arn = hook.start()
    _wait_for_event(hook, arn, "TaskFailed")
    hook.party.restart()

    assert wait_for_execution(hook.aws, arn)["status"] == "SUCCEEDED"


def _wait_for_event(reports: Reports, arn: str, kind: str) -> None:
    history = reports.aws.client("stepfunctions").get_execution_history
    while kind not in {event["type"] for event in history(executionArn=arn)["events"]}:
        pass


def test_wrong_key_fails_with_words(aws: EmbeddedAws, party: ThreadedThirdParty) -> None:
    reports = new_reports(aws, party, "api-key", held={"key": "wrong"})

    ended = reports.run()

    assert ended["error"] == "States.Http.StatusCode.401"
    assert "invalid or expired credentials" in ended["cause"]
    assert reports.run()["error"] == "Events.ConnectionResource.InvalidConnectionState"


def test_oauth_expiry_is_renewed(aws: EmbeddedAws, party: ThreadedThirdParty) -> None:
    reports = new_reports(aws, party, "oauth")
    assert reports.run()["status"] == "SUCCEEDED"
    party.accounts.expire_tokens()

    ended = reports.run(LEFT)

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert party.statuses == [200, 401, 200]
    assert party.accounts.grants == 2


def test_expired_login_is_renewed_once(login: Reports) -> None:
    assert login.run()["status"] == "SUCCEEDED"
    login.party.accounts.expire_tokens()

    ended = login.run(LEFT)

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert login.party.accounts.logins == 2
    assert list(login.party.told) == [KEY, LEFT["id"]]


def test_second_401_fails_with_words(login: Reports) -> None:
    assert login.run()["status"] == "SUCCEEDED"
    login.party.answer_next(401, {"error": "your account was closed"}, times=2)

    ended = login.run(LEFT)

    assert (ended["status"], ended["error"]) == ("FAILED", "States.Http.StatusCode.401")
    assert json.loads(ended["cause"]) == {"error": "your account was closed"}
    # A redrive repeats the state that failed.
    assert login.entered(ended["executionArn"])[-1] == "LastCall"
    assert login.party.accounts.logins == 2


def test_simultaneous_expiry_logs_in_once(login: Reports) -> None:
    assert login.run()["status"] == "SUCCEEDED"
    login.party.accounts.expire_tokens()
    login.party.fail_login_next(200, delay_s=0.5)
    events = [JOINED | {"id": f"01JD00000000000000000001{number:02}"} for number in range(6)]

    with ThreadPoolExecutor(6) as pool:
        ended = list(pool.map(login.run, events))

    assert [each["status"] for each in ended] == ["SUCCEEDED"] * 6, ended
    assert login.party.accounts.logins == 2
    assert set(login.party.told) == {KEY, *(str(event["id"]) for event in events)}


def test_refused_login_fails_without_its_answer(aws: EmbeddedAws, party: ThreadedThirdParty) -> None:
    """The answer of a login may repeat the password. One login is tried, because some APIs lock accounts."""
    wrong = {"username": party.accounts.user, "password": "planted-wrong-password"}
    reports = new_reports(aws, party, "login", held=wrong)
    party.fail_login_next(403, {"error": "planted-wrong-password is wrong"})

    ended = reports.run()

    assert ended["status"] == "FAILED"
    assert "login" in ended["cause"]
    assert "States.Http.StatusCode.403" in ended["cause"]
    assert "planted" not in ended["cause"]
    # A redrive starts another refresh.
    assert reports.entered(ended["executionArn"])[-1] == "Refresh"


def test_login_that_is_down_is_waited_for(login: Reports) -> None:
    login.party.fail_login_next(503, "down", times=7)

    assert login.run()["status"] == "SUCCEEDED"
    assert login.party.accounts.logins == 1


def test_login_without_token_is_named(aws: EmbeddedAws, party: ThreadedThirdParty) -> None:
    reports = new_reports(aws, party, "login", TokenField="data.token")

    ended = reports.run()

    assert "the answer has no token in the field data.token" in ended["cause"]


@pytest.mark.parametrize("missing", range(7))
def test_each_permission_is_needed(login: Reports, missing: int) -> None:
    """The first call finds no token and has one fetched, so it needs all of them."""
    del login.statements[missing]

    assert login.run()["status"] == "FAILED"


def test_statements_are_counted(login: Reports) -> None:
    assert len(login.statements) == 7


# Any principal may do it, so a policy of it alone allows nothing.
HARMLESS = "sts:GetCallerIdentity"


def _without_each(policy: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each action that the policy allows, and the policy without it."""
    for index, statement in enumerate(policy["Statement"]):
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else list(actions):
            less = copy.deepcopy(policy)
            kept = less["Statement"][index]["Action"]
            kept = HARMLESS if isinstance(kept, str) else [each for each in kept if each != action]
            less["Statement"][index]["Action"] = kept
            yield action, json.dumps(less)


def _role_of(login: Reports, logical_id: str) -> str:
    found = login.aws.client("cloudformation").describe_stack_resource(
        StackName=login.stack_name, LogicalResourceId=logical_id
    )
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


@pytest.mark.parametrize(("logical_id", "name"), [("LoginRole", "log-in"), ("RefreshRole", "run-login")])
def test_login_needs_each_action(login: Reports, logical_id: str, name: str) -> None:
    """Without any one of the actions that the roles of the login have, there is no token."""
    iam, role = login.aws.client("iam"), _role_of(login, logical_id)
    policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]

    for number, (action, less) in enumerate(_without_each(policy)):
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=less)
        assert _refresh(login, f"without-{number}") == "FAILED", action

    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))
    assert _refresh(login, "with-all") == "SUCCEEDED"


def _refresh(login: Reports, name: str) -> str:
    start = login.aws.client("stepfunctions").start_execution
    started = start(stateMachineArn=login.outputs["Renewal"], name=name, input="{}")
    return str(wait_for_execution(login.aws, started["executionArn"])["status"])

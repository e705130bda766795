"""Service roles, checked with ministack's own policy evaluation."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ministack.core.responses import request_scope
from ministack.services import iam, sts

from infra.local.aws.hooks.service_roles import SESSION_S, NotTrusted, ServiceRoles

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/path/relay"
MACHINE = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:notify"


class Clock:
    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


def _trust(role_arn: str = ROLE, **statement: Any) -> None:
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "states.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    document = {"Version": "2012-10-17", "Statement": [allowed | statement]}
    iam._roles[role_arn.rpartition("/")[2]] = {
        "RoleId": "AROARELAY",
        "Arn": role_arn,
        "AssumeRolePolicyDocument": json.dumps(document),
    }


@pytest.fixture(autouse=True)
def _account() -> Iterator[None]:
    with request_scope(ACCOUNT, "us-east-1"):
        yield
    iam._roles.clear()  # type: ignore[no-untyped-call]
    sts._sessions.clear()


def _assume(roles: ServiceRoles, source: str = MACHINE) -> str:
    return roles.assume(ROLE, source_arn=source, region="us-east-1").access_key_id


def test_creates_role_session() -> None:
    _trust()

    key_id = _assume(ServiceRoles("states.amazonaws.com", "states"))

    session = sts._sessions[key_id]
    assert session["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/relay/states"
    assert session["AccountId"] == ACCOUNT


def test_reuses_and_renews_session() -> None:
    """A session is reused, and renewed before it expires."""
    clock = Clock()
    roles = ServiceRoles("states.amazonaws.com", "states", now=clock)
    _trust()
    first = _assume(roles)

    clock.time += SESSION_S / 2
    assert _assume(roles) == first

    clock.time += SESSION_S / 2 - 1
    assert _assume(roles) != first


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param({"Principal": {"Service": "apigateway.amazonaws.com"}}, id="another service"),
        pytest.param({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}, id="the account"),
        pytest.param({"Effect": "Deny"}, id="denied"),
        pytest.param({"Action": "sts:TagSession"}, id="another action"),
        pytest.param(
            {"Condition": {"StringEquals": {"aws:SourceAccount": "999999999999"}}}, id="another account"
        ),
        pytest.param({"Condition": {"ArnLike": {"aws:SourceArn": MACHINE + "x"}}}, id="another machine"),
    ],
)
def test_refuses_untrusting_role(statement: dict[str, Any]) -> None:
    _trust(**statement)

    with pytest.raises(NotTrusted):
        _assume(ServiceRoles("states.amazonaws.com", "states"))


def test_condition_sees_source_arn() -> None:
    """Trust conditions see the ARN and account of the calling resource."""
    _trust(Condition={"StringEquals": {"aws:SourceAccount": ACCOUNT}, "ArnLike": {"aws:SourceArn": MACHINE}})
    roles = ServiceRoles("states.amazonaws.com", "states")

    assert _assume(roles)
    with pytest.raises(NotTrusted):
        _assume(roles, source=MACHINE.replace(ACCOUNT, "999999999999"))


def test_refuses_missing_role() -> None:
    with pytest.raises(NotTrusted, match="role/path/relay"):
        _assume(ServiceRoles("states.amazonaws.com", "states"))


def test_notices_withdrawn_trust() -> None:
    roles = ServiceRoles("states.amazonaws.com", "states")
    _trust()
    _assume(roles)

    _trust(Effect="Deny")

    with pytest.raises(NotTrusted):
        _assume(roles)

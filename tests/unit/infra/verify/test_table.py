"""The table, the verdicts, and what the table of metrics covers."""

import re
from pathlib import Path
from typing import cast

import pytest

from infra.verify.check import Check, Row, Seen, Skipped, Verdict, make
from infra.verify.records import METRICS
from infra.verify.site import Answer, Site
from infra.verify.table import render_summary, render_table

_MONITORING = Path(__file__).parents[4] / "infra" / "monitoring.yaml"
# Only where something is throttled or a webhook is gone, which a verification does not bring about.
_ONLY_IN_TROUBLE = {
    ("AWS/States", "ExecutionThrottled"),
    ("VoiceRelay", "IngressThrottled"),
    ("VoiceRelay", "ProxyRefused"),
}


def _no_site() -> Site:
    return cast("Site", None)


def _skip(_: Site) -> Seen:
    raise Skipped("not here")


def _time_out(_: Site) -> Seen:
    raise TimeoutError("waited 60 s in vain")


def test_each_verdict() -> None:
    checks = [
        Check("one", "this", lambda _: Seen(True, "this")),
        Check("two", "this", lambda _: Seen(False, "that")),
        Check("three", "this", _skip),
        Check("four", "this", _time_out, "https://docs.aws.amazon.com/x"),
    ]

    rows = list(make(checks, _no_site()))

    assert [row.verdict for row in rows] == ["ok", "differs", "skipped", "differs"]
    assert [row.seen for row in rows] == ["this", "that", "not here", "TimeoutError: waited 60 s in vain"]
    assert list(render_summary(rows)) == [
        "1 ok, 2 differs, 1 skipped",
        "four: expected because of https://docs.aws.amazon.com/x",
    ]


def test_defect_of_check_is_not_hidden() -> None:
    """It is no difference of AWS's."""

    def fail(_: Site) -> Seen:
        raise AssertionError("a defect")

    with pytest.raises(AssertionError, match="a defect"):
        list(make([Check("one", "this", fail)], _no_site()))


def test_table_is_aligned_markdown() -> None:
    check = Check("one", "a | b", lambda _: Seen(True, ""))
    rows = [Row(check, Verdict.OK, "a\nb"), Row(check, Verdict.SKIPPED, "why")]

    table = render_table(rows)

    assert len({len(line) for line in table}) == 1
    assert table[2] == "| one   | a / b    | a\\nb | ok            |"
    assert table[3].split(" | ")[2:] == ["    ", "skipped (why) |"]


def test_answer_names_error_type() -> None:
    assert Answer(400, {}, '{"__type": "com.amazonaws#InvalidName"}').describe() == "400 InvalidName"
    assert Answer(403, {}, '{"message":"Forbidden"}').describe() == '403 {"message":"Forbidden"}'
    assert Answer(502, {}, "<html>").describe() == "502 <html>"


def test_metrics_are_those_of_alarms() -> None:
    text = _MONITORING.read_text()
    named = re.findall(r"^ +Namespace: (?:!Sub )?(\S+)\n +MetricName: (\S+)$", text, re.MULTILINE)
    watched = {(namespace.partition("/$")[0], name) for namespace, name in named}

    assert {(namespace, name) for namespace, name, _ in METRICS} == watched - _ONLY_IN_TROUBLE
    assert watched >= _ONLY_IN_TROUBLE

"""The file of rules: what it means, and what is said, with the line, where it is wrong."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import SettingsError
from bot.routing import rules_file
from bot.routing.rules import Rule
from bot.routing.rules_file import load_rules, parse_rules, read_rules

BAD = """\
rules = 1
[[rule]]
name = "night shift"
guild = ["1"]
types = ["join", "left"]
channels = [
  "1", 2,  # not in quotes
  "3",
  4]
drop = true
workflow = "a"
continue = true

[[rule]]
destination = "https://discord.com/api/webhooks/1/secret"
debounce_s = nan
batch_max_events = true
roles = []
types = ["gap", "left"]
users = ["1"]
bot = "yes"
"""
NO_ID = 'channels holds an invalid id: ids are digits in quotes, like "127121515262115840"'
PROBLEMS = f"""\
line 1: unknown key rules: did you mean [[rule]]?
line 4, rule 1 (night shift): unknown key guild: did you mean guilds?
line 5, rule 1 (night shift): types may hold only joined, left, moved, updated and gap: did you mean joined?
line 7, rule 1 (night shift): {NO_ID}
line 9, rule 1 (night shift): {NO_ID}
line 11, rule 1 (night shift): workflow contradicts drop = true: remove one of them
line 12, rule 1 (night shift): continue contradicts drop = true: remove one of them
line 15, rule 2: destination must be 1 to 64 letters, digits, - and _, in quotes
line 16, rule 2: debounce_s must be a number of seconds from 0 to 3600
line 17, rule 2: batch_max_events must be a whole number from 1 to 1000
line 18, rule 2: roles must not be an empty list, which nothing meets: remove it to have no such condition
line 19, rule 2: a gap never meets users: remove it from types and write a rule for it
line 21, rule 2: bot must be true or false
""".splitlines()


def problems(text: str) -> list[str]:
    """Return what is wrong with a file of *text*, without its name."""
    with pytest.raises(SettingsError) as caught:
        parse_rules(text, "rules.toml")
    assert all(problem.startswith("rules.toml") for problem in caught.value.problems)
    return [problem.removeprefix("rules.toml").lstrip(": ") for problem in caught.value.problems]


def test_reads_every_key() -> None:
    text = """
    [[rule]]
    name = "everything"
    types = ["moved"]
    guilds = ["1", "2"]
    channels = ["3"]
    categories = ["4"]
    entering = ["9"]
    leaving = ["8"]
    users = ["5"]
    roles = ["6"]
    bot = true
    afk = false
    changed = ["self_stream"]
    workflow = "long-one_2"
    destination = "ops"
    debounce_s = 2.5
    batch_max_events = 1000
    continue = true
    [[rule]]
    drop = true
    [[rule]]
    """
    assert parse_rules(text, "rules.toml").rules == (
        Rule(
            name="everything",
            types=frozenset({"moved"}),
            guilds=frozenset({"1", "2"}),
            channels=frozenset({"3"}),
            categories=frozenset({"4"}),
            entering=frozenset({"9"}),
            leaving=frozenset({"8"}),
            users=frozenset({"5"}),
            roles=frozenset({"6"}),
            bot=True,
            afk=False,
            changed=frozenset({"self_stream"}),
            workflow="long-one_2",
            destination="ops",
            debounce_s=2.5,
            batch_max_events=1000,
            continues=True,
        ),
        Rule(drop=True),
        Rule(),
    )


def test_documented_example_is_valid() -> None:
    assert rules_file.__doc__ is not None
    example = "\n".join(line for line in rules_file.__doc__.splitlines() if line.startswith("    "))
    first, second, third, fourth, last = parse_rules(example, "example").rules
    assert (first.drop, second.continues, third.debounce_s) == (True, True, 5)
    assert (fourth.parameters, last.signal) == ('{"limit":5}', "withdraw")


def test_names_all_problems_with_lines() -> None:
    assert problems(BAD) == PROBLEMS


def test_names_setting_and_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(BAD)
    with pytest.raises(SettingsError) as caught:
        load_rules(path)
    assert list(caught.value.problems) == [f"VOICE_RELAY_RULES_FILE: {path} {text}" for text in PROBLEMS]
    with pytest.raises(SettingsError) as caught:
        read_rules(path)
    assert list(caught.value.problems) == [f"{path} {text}" for text in PROBLEMS]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("types = 'joined'", "types must be a list of words in quotes, in square brackets"),
        ("types = [['joined']]", "types may hold only joined, left, moved, updated and gap"),
        ("changed = ['stream']", "suppress: did you mean self_stream?"),
        ("users = '7'", "users must be a list of ids, in square brackets"),
        ("users = ['+7']", "users holds an invalid id"),
        ("users = ['123456789012345678901']", "users holds an invalid id"),
        ("bot = 1", "bot must be true or false"),
        ("afk = 'false'", "afk must be true or false"),
        ("drop = 0", "drop must be true or false"),
        ("continue = []", "continue must be true or false"),
        ("workflow = 'a/b'", "workflow must be"),
        ("workflow = ''", "workflow must be"),
        (f"destination = '{'a' * 65}'", "destination must be"),
        ("debounce_s = true", "debounce_s must be"),
        ("gap_min_s = -1", "gap_min_s must be a number of seconds from 0 to 3600"),
        ('types = ["joined"]\ngap_min_s = 5', "gap_min_s is about gaps: add gap to types"),
        ("debounce_s = -1", "debounce_s must be"),
        ("debounce_s = 3601", "debounce_s must be"),
        ("debounce_s = inf", "debounce_s must be"),
        (f"debounce_s = 1{'0' * 400}", "debounce_s must be"),
        ("debounce_s = 2026-11-21 07:00:00.5", "debounce_s must be"),
        ("batch_max_events = 0", "batch_max_events must be"),
        ("batch_max_events = 1001", "batch_max_events must be"),
        ("batch_max_events = 5.0", "batch_max_events must be"),
        ('name = ""', "name must be a text of 1 to 64 printable characters"),
        ('name = "a\\u001bb"', "name must be"),
        ("category = ['1']", "unknown key category: did you mean categories?"),
        ("settle_s = 1", "unknown key settle_s: it is now called debounce_s"),
        ("zzz = 1", "unknown key zzz: a rule has name, types, guilds"),
        ('"\\u001b[0m" = 1', "unknown key with odd characters"),
        ("types.x = 1", "types must be a list"),
        ("types = ['joined', 'gap']\nchanged = ['mute']", "no flag changes in joined and gap: remove them"),
        (
            "types = ['updated', 'left']\nchanged = ['mute']",
            "no flag changes in left: remove it from types",
        ),
        ("types = ['gap']\nbot = false\nafk = true", "a gap never meets bot and afk"),
        ("drop = true\ndestination = 'x'", "destination contradicts drop = true"),
        ("drop = true\ndebounce_s = 1", "debounce_s contradicts drop = true"),
        ("drop = true\nbatch_max_events = 1", "batch_max_events contradicts drop = true"),
        ("drop = true\nparameters = {a = 1}", "parameters contradicts drop = true"),
        ("drop = true\nsignal = 'x'", "signal contradicts drop = true"),
        ("entering = ['a']", "entering holds an invalid id"),
        ("leaving = []", "leaving must not be an empty list"),
        (
            "types = ['left', 'moved']\nentering = ['1']",
            "no channel is entered in left: remove it from types",
        ),
        (
            "types = ['joined', 'updated', 'gap']\nleaving = ['1']",
            "no channel is left in joined, updated and gap: remove them from types, or remove leaving",
        ),
        ("entering = ['1']\nleaving = ['1']", "no move enters and leaves the same channel"),
        ("signal = 'a b'", "signal must be 1 to 40 letters, digits, - and _, in quotes"),
        (f"signal = '{'a' * 41}'", "signal must be 1 to 40 letters"),
        ("signal = 'withdraw'", "executions of notify wait for no signal: remove the rule"),
        ("workflow = 'own'\nsignal = 'x'\n", "no rule starts own: write one, or remove the rule with signal"),
    ],
)
def test_refuses_bad_line(line: str, words: str) -> None:
    (problem,) = problems(f"[[rule]]\n\n[[rule]]\n{line}\n")
    assert words in problem
    assert ", rule 2: " in problem
    assert problem.startswith(("line 4, ", "line 5, "))


@pytest.mark.parametrize(
    "line",
    [
        "debounce_s = 0",
        "debounce_s = 3600.0",
        "batch_max_events = 1",
        "drop = false\nworkflow = 'a'",
        "drop = true\ncontinue = false",
        f"name = '{'ü' * 64}'",
        "types = ['gap', 'left']\nguilds = ['1']",
    ],
)
def test_accepts_limits(line: str) -> None:
    assert len(parse_rules(f"[[rule]]\n{line}\n", "rules.toml").rules) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there is no [[rule]]: unset VOICE_RELAY_RULES_FILE for the built-in rules"),
        ("\nrule = []", "line 2: there is no [[rule]]: unset VOICE_RELAY_RULES_FILE for the built-in rules"),
        ("[rule]\ndrop = true", "line 1: a rule begins with [[rule]], in double brackets"),
        ("rule = [\n{}, 5]", "line 2: a rule is a table of keys and values: begin it with [[rule]]"),
        ("[[rule]]\nx =\n", "line 2, column 4: not valid TOML: Invalid value"),
        ("[[rule]]\nx = '''", "at the end: not valid TOML: Expected \"'''\""),
        ("x = " + "[" * 100_000, "is not valid TOML: brackets are nested too deep"),
        (f"x = {'9' * 5000}", "is not valid TOML: Exceeds the limit"),
    ],
)
def test_refuses_other_documents(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.removeprefix(" ").startswith(problem)


def test_never_repeats_a_value() -> None:
    """It may be a misplaced secret."""
    secret = "MTE3NzE5ODM0MjM0MzQzMDA"
    for key in set(rules_file._CHECKS) - {"name"}:
        for value in (f'"{secret}/"', f'["{secret}"]', f"{{ {secret} = 1 }}"):
            assert secret not in "".join(problems(f"[[rule]]\n{key} = {value}\nzzz = 1\n"))


def test_names_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"RULES_FILE: .*absent\.toml cannot be read \(No such file"):
        load_rules(tmp_path / "absent.toml")
    with pytest.raises(SettingsError, match=r"cannot be read \(Is a directory"):
        load_rules(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        load_rules(tmp_path / "binary")


def test_accepts_bom_and_crlf(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(b"\xef\xbb\xbf[[rule]]\r\ndrop = true\r\n[[rule]]\r\nbot = 1\r\n")
    with pytest.raises(SettingsError, match="line 4, rule 2: bot"):
        read_rules(path)


VALUES = st.recursive(
    st.sampled_from(["true", "1", "0.5", "'1'", "'left'", "'gap'", "'mute'", '"a/b"', "2026-11-21"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2).map(
            lambda items: "{" + ", ".join(f"{key} = {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from([*rules_file._CHECKS, "x"]), VALUES, max_size=5), max_size=3))
def test_any_toml_is_read_or_refused(tables: list[dict[str, str]]) -> None:
    text = "".join(
        "[[rule]]\n" + "".join(f"{key} = {value}\n" for key, value in table.items()) for table in tables
    )
    tomllib.loads(text)
    try:
        count = len(parse_rules(text, "rules.toml").rules)
    except SettingsError:
        return
    assert count == len(tables)


WAITING_ROOM = """
[[rule]]
entering = ["5"]
debounce_s = 10
workflow = "own"

[[rule]]
name = "gone again"
leaving = ["5"]
workflow = "own"
signal = "withdraw"
"""


def test_signal_waits_as_long_as_start() -> None:
    """Otherwise one of them would be told of a stay that the other one merged away."""
    (problem,) = problems(WAITING_ROOM)
    assert problem == (
        "line 7, rule 2 (gone again): rule 1 starts own with debounce_s = 10, and this rule signals it "
        "with 0: give both the same"
    )
    start, signal = parse_rules(WAITING_ROOM + "debounce_s = 10.0\n", "rules.toml").rules
    assert (start.signal, signal.signal, start.key, signal.key) == (None, "withdraw", "person", "person")


@pytest.mark.parametrize("line", ["destination = 'x'", "batch_max_events = 1", "parameters = {a = 1}"])
def test_signal_says_nothing_of_a_start(line: str) -> None:
    (problem,) = problems(f"{WAITING_ROOM}debounce_s = 10\n{line}\n")
    key = line.partition(" ")[0]
    assert problem.startswith(f"line 13, rule 2 (gone again): {key} is for a rule that starts an execution")


def test_signal_of_known_workflow_is_checked() -> None:
    """It needs none of the workflow's parameters."""
    text = """
    [[rule]]
    workflow = "admit"
    signal = "withdrawn"
    [[rule]]
    workflow = "admit"
    signal = "withdraw"
    """
    assert problems(text) == [
        "line 4, rule 1: executions of admit wait for no such signal: they take withdraw",
        "line 4, rule 1: no rule starts admit: write one, or remove the rule with signal",
        "line 7, rule 2: no rule starts admit: write one, or remove the rule with signal",
    ]


def test_other_workflows_have_no_key() -> None:
    rules = parse_rules(WAITING_ROOM + "debounce_s = 10\n[[rule]]\n", "rules.toml").rules
    assert rules[-1].key is None

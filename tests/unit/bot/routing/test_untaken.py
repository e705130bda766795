"""What the built-in rule posts and a rules file leaves out."""

import pytest

from bot.routing.rules import DEFAULT_RULES
from bot.routing.rules_file import parse_rules
from bot.routing.untaken import find_untaken

WAITING_ROOM = """\
[[rule]]
entering = ["1"]
workflow = "escort"
parameters = { do = "disconnect" }
continue = true
"""


def test_waiting_room_alone_leaves_all_else() -> None:
    (text,) = find_untaken(parse_rules(WAITING_ROOM, "rules.toml"))
    assert text.startswith("no rule takes joined, left, moved and gap of all channels and people: ")
    assert text.endswith('types = ["joined", "left", "moved", "gap"]')


@pytest.mark.parametrize("condition", ["", 'guilds = ["1"]', "bot = false", "afk = false"])
def test_last_rule_takes_the_rest(condition: str) -> None:
    """It may leave out other servers, bots and the AFK channel."""
    people = f'[[rule]]\ntypes = ["joined", "left", "moved"]\n{condition}\n'
    gaps = '[[rule]]\ntypes = ["gap"]\ngap_min_s = 10\n'
    assert find_untaken(parse_rules(WAITING_ROOM + people + gaps, "rules.toml")) == []


@pytest.mark.parametrize("condition", ["bot = true", "afk = true", 'channels = ["1"]', 'users = ["1"]'])
def test_exception_does_not_take_the_rest(condition: str) -> None:
    assert find_untaken(parse_rules(f"[[rule]]\n{condition}\n", "rules.toml")) != []


def test_dropped_on_purpose_is_taken() -> None:
    drop = '[[rule]]\ntypes = ["left", "moved", "gap"]\ndrop = true\n'
    (text,) = find_untaken(parse_rules(WAITING_ROOM + drop, "rules.toml"))
    assert text.startswith("no rule takes joined of ")


def test_built_in_rule_takes_all_it_posts() -> None:
    assert find_untaken(DEFAULT_RULES) == []

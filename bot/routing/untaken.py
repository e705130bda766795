"""Types of events that the built-in rule takes everywhere, and that a rules file leaves to go nowhere."""

from collections.abc import Iterator

from bot.routing.facts import TYPES
from bot.routing.rules import DEFAULT_RULES, Rule, Rules
from bot.text import list_words


def find_untaken(rules: Rules) -> list[str]:
    """Return a sentence about the types that *rules* take only from some places or people; else nothing.

    That may be what is meant, as where a relay tells of one channel alone.
    """
    taken = {type_ for rule in rules.rules if _is_general(rule) for type_ in rule.types or TYPES}
    untaken = [type_ for type_ in _posted_by_default() if type_ not in taken]
    if not untaken:
        return []
    listed = ", ".join(f'"{type_}"' for type_ in untaken)
    text = (
        f"no rule takes {list_words(untaken)} of all channels and people: what the rules do not match goes "
        f"nowhere. If it is to be posted, end the file with a rule that has types = [{listed}]"
    )
    return [text]


def _posted_by_default() -> Iterator[str]:
    (rule,) = DEFAULT_RULES.rules
    return (type_ for type_ in TYPES if rule.types is None or type_ in rule.types)


def _is_general(rule: Rule) -> bool:
    """Whether the rule decides about its types everywhere, servers, bots and AFK channels aside."""
    narrow = (
        rule.channels,
        rule.entering,
        rule.leaving,
        rule.categories,
        rule.users,
        rule.roles,
        rule.changed,
        rule.signal,
    )
    # bot = true and afk = true are what a rule for the exception has.
    return not any(narrow) and not rule.bot and not rule.afk

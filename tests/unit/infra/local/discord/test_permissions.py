"""How roles and overwrites add up, in the order that Discord documents."""

import pytest

from infra.local.discord.permissions import ALL_PERMISSIONS, NO_PERMISSIONS, Overwrite, Permission, add_up

VIEW, SEND, MOVE = Permission.VIEW_CHANNEL, Permission.SEND_MESSAGES, Permission.MOVE_MEMBERS
GRANTED = {"everyone": VIEW, "speaker": SEND, "mover": MOVE, "admin": Permission.ADMINISTRATOR}


def of(*roles: str, **overwrites: Overwrite) -> Permission:
    return add_up(
        everyone_id="everyone", role_ids=roles, user_id="nelly", granted=GRANTED, overwrites=overwrites
    )


@pytest.mark.parametrize(
    ("may", "expected"),
    [
        (of(), VIEW),
        (of("speaker", "mover"), VIEW | SEND | MOVE),
        (of("gone"), VIEW),
        (of("admin"), ALL_PERMISSIONS),
        (of("admin", everyone=Overwrite(deny=VIEW)), ALL_PERMISSIONS),
        (of("speaker", everyone=Overwrite(deny=SEND)), VIEW),
        (of("speaker", everyone=Overwrite(deny=SEND), speaker=Overwrite(allow=SEND)), VIEW | SEND),
        (
            of("speaker", "mover", speaker=Overwrite(deny=MOVE), mover=Overwrite(allow=MOVE)),
            VIEW | SEND | MOVE,
        ),
        (of("speaker", speaker=Overwrite(allow=MOVE), nelly=Overwrite(deny=MOVE)), VIEW | SEND),
        (of(everyone=Overwrite(deny=VIEW), nelly=Overwrite(allow=VIEW | MOVE)), VIEW | MOVE),
        (of("speaker", "mover", everyone=Overwrite(deny=VIEW)), NO_PERMISSIONS),
    ],
)
def test_permissions_add_up(may: Permission, expected: Permission) -> None:
    assert may == expected

"""The evening itself, with nobody connected to hear of it."""

from collections import Counter

from infra.local.demo.evening import BURST, play_evening, set_scene
from infra.local.standin import StandIn


async def test_every_line_of_the_script_is_a_transition() -> None:
    """And so is every one of the burst, which is where the range says."""
    discord = StandIn()
    scene = set_scene(discord.world)
    narrated: list[str] = []

    burst = await play_evening(scene, narrated.append, pace=0)

    assert len(burst) == BURST
    # All but two lines announce one transition each; the burst has one for all of its own.
    assert len(discord.sent) == len(narrated) - 2 + BURST
    kinds = Counter(transition.kind for transition in discord.sent)
    assert set(kinds) == {"joined", "moved", "updated", "left"}
    changed = {name for transition in discord.sent for name in transition.changes}
    assert {"self_mute", "self_deaf", "self_stream", "self_video", "mute", "suppress"} <= changed


async def test_burst_takes_less_than_a_second() -> None:
    discord = StandIn()
    burst = await play_evening(set_scene(discord.world), lambda _: None, pace=0)
    assert discord.sent[burst[-1]].at - discord.sent[burst[0]].at < 1


async def test_is_the_same_every_time() -> None:
    logs = []
    for _ in range(2):
        discord = StandIn()
        await play_evening(set_scene(discord.world), lambda _: None, pace=0)
        logs.append([transition._replace(at=0) for transition in discord.sent])
    assert logs[0] == logs[1]

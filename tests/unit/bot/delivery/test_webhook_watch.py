"""The webhook's watch: how often it asks, what it says, and when events may go out."""

import asyncio
import logging
from collections import deque
from collections.abc import Collection

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from bot.api.webhook import Webhook
from bot.delivery.webhook_watch import EVERY_S, WebhookWatch
from bot.errors import Rejected, TemporaryFailure, Unauthorized

FOUND = Webhook("1")
GONE = Rejected("the webhook does not exist (any more)", status=404)
DOWN = TemporaryFailure("cannot reach Discord: discord.com:443: Network is unreachable")

Answer = Webhook | Exception


@pytest.fixture(autouse=True)
def _every_level(_quiet_logs: None) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))


class Over(Exception):
    """The test has seen enough."""


class Bench:
    """A watch that gets *answers*, one after the other; its time passes in its sleeps."""

    def __init__(
        self, *answers: Answer, guilds: Collection[str] | None = ("1",), arriving_s: float = 0
    ) -> None:
        self.answers = deque(answers)
        self.asked_s: list[float] = []
        self.now_s = 0.0
        self._guilds = guilds
        self._arriving_s = arriving_s
        self.watch = WebhookWatch(self._ask, guilds=self._known_guilds, sleep=self._sleep, random=lambda: 1.0)

    async def _ask(self) -> Webhook:
        if not self.answers:
            raise Over
        self.asked_s.append(self.now_s)
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _known_guilds(self) -> Collection[str] | None:
        return self._guilds if self.now_s >= self._arriving_s else None

    async def _sleep(self, seconds: float) -> None:
        self.now_s += seconds

    async def run(self) -> list[EventDict]:
        """Run the watch through all its answers, and return what it logged."""
        with capture_logs() as logged, pytest.raises(Over):
            await self.watch.run()
        return logged


async def test_asks_every_five_minutes() -> None:
    bench = Bench(FOUND, FOUND, FOUND)

    logged = await bench.run()

    assert bench.asked_s == [0, EVERY_S, 2 * EVERY_S]
    assert [line["event"] for line in logged] == ["webhook_found"]
    assert bench.watch.trouble is None


async def test_gone_webhook_is_trouble() -> None:
    """It is said once, and Discord is not asked more often than of a good one."""
    bench = Bench(GONE, GONE)

    (line,) = await bench.run()

    assert (line["event"], line["log_level"]) == ("webhook_refused", "error")
    assert "VOICE_RELAY_WEBHOOK_URL" in line["next"]
    assert bench.asked_s == [0, EVERY_S]
    assert bench.watch.trouble is not None
    assert "does not exist" in bench.watch.trouble
    assert "VOICE_RELAY_WEBHOOK_URL" in bench.watch.trouble


async def test_trouble_ends_with_it() -> None:
    bench = Bench(GONE, FOUND)

    logged = await bench.run()

    assert [line["event"] for line in logged] == ["webhook_refused", "webhook_found"]
    assert bench.watch.trouble is None


async def test_unreachable_discord_is_no_trouble() -> None:
    """It is asked again with backoff, up to the interval of a good webhook."""
    bench = Bench(*[DOWN] * 12)

    (line,) = await bench.run()

    assert (line["event"], line["log_level"]) == ("webhook_not_checked", "warning")
    assert bench.watch.trouble is None
    waits = [later - earlier for earlier, later in zip(bench.asked_s, bench.asked_s[1:], strict=False)]
    assert waits[:3] == [0.5, 1, 2]
    assert waits[-1] == EVERY_S


async def test_unreachable_discord_pardons_nothing() -> None:
    bench = Bench(GONE, DOWN, DOWN)

    await bench.run()

    assert bench.watch.trouble is not None
    assert bench.asked_s == [0, EVERY_S, 2 * EVERY_S]


@pytest.mark.parametrize("answer", [FOUND, DOWN])
async def test_admits_after_first_answer(answer: Answer) -> None:
    bench = Bench(answer)
    admitted = asyncio.create_task(bench.watch.admit())
    await asyncio.sleep(0)
    assert not admitted.done()

    await bench.run()

    await admitted


async def test_admits_nothing_while_refused() -> None:
    bench = Bench(GONE)
    await bench.run()

    with pytest.raises(Unauthorized, match="Discord refuses the webhook"):
        await bench.watch.admit()


async def test_warns_of_foreign_webhook() -> None:
    """Once, and after the bot's own servers have had time to arrive."""
    bench = Bench(FOUND, FOUND, guilds=("2",), arriving_s=100)

    logged = await bench.run()

    assert [line["event"] for line in logged] == ["webhook_found", "webhook_foreign"]
    assert logged[1]["guild_id"] == "1"
    assert bench.asked_s[1] > 100 + EVERY_S
    assert bench.watch.trouble is None


async def test_trusts_server_that_arrives_late() -> None:
    bench = Bench(FOUND, guilds=("1",), arriving_s=100)

    assert [line["event"] for line in await bench.run()] == ["webhook_found"]

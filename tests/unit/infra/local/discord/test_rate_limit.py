from infra.local.discord.rate_limit import RateLimit, Window


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_window_starts_with_first_request() -> None:
    clock = Clock()
    window = Window(RateLimit(2, 10.0), clock=clock, wall_clock=lambda: 1000.0)
    first = window.take()
    clock.now += 4
    second, third = window.take(), window.take()
    assert [(grant.allowed, grant.remaining) for grant in (first, second, third)] == [
        (True, 1),
        (True, 0),
        (False, 0),
    ]
    assert (first.reset_after_s, third.reset_after_s, third.reset_at) == (10.0, 6.0, 1006.0)


def test_waiting_reset_after_is_enough() -> None:
    """Also if the rest of the window is not a whole number of milliseconds."""
    clock = Clock()
    window = Window(RateLimit(1, 2.0), clock=clock)
    window.take()
    clock.now += 0.12345678
    refused = window.take()
    assert not refused.allowed
    clock.now += refused.reset_after_s
    assert window.take().allowed


def test_headers_match_discords() -> None:
    window = Window(RateLimit(5, 2.0), clock=lambda: 0.0, wall_clock=lambda: 1000.25)
    assert window.take().build_headers("abc") == {
        "X-RateLimit-Limit": "5",
        "X-RateLimit-Remaining": "4",
        "X-RateLimit-Reset": "1002.250",
        "X-RateLimit-Reset-After": "2.000",
        "X-RateLimit-Bucket": "abc",
    }

"""What a child wrote, as a person at the terminal sees it, and what must not be in it."""

import asyncio
import re
from collections.abc import Iterable

from tests.support.process import CREDENTIALS, Child

TOKEN = "NDE3NzE5ODM0MjMxNDM5Mzc.GabcdE.the-bot-token-that-no-line-may-hold-4567"
WEBHOOK_TOKEN = "the-webhook-token-that-no-line-may-hold"

_POLL_S = 0.02
_SIGNATURE = re.compile(r"(Signature=|signature\W+)[0-9a-f]{16}", re.IGNORECASE)


def read_output(child: Child) -> str:
    return child.stdout + child.stderr


async def wait_for_text(child: Child, text: str, timeout_s: float = 20.0) -> str:
    """Wait until *text* is in the output and return the whole of it; the child may end meanwhile."""
    async with asyncio.timeout(timeout_s):
        while text not in (output := read_output(child)):
            if child.exit_code is not None and text not in read_output(child):
                raise AssertionError(f"ended with {child.exit_code} and never said {text!r}:\n{output}")
            await asyncio.sleep(_POLL_S)
    return output


def check_output(child: Child, secrets: Iterable[str] = ()) -> None:
    """Check that the output has no traceback, nothing uncaught, and no secret."""
    output = read_output(child)
    assert "Traceback" not in output, output[-4000:]
    assert "uncaught" not in output, output[-4000:]
    for secret in (TOKEN, WEBHOOK_TOKEN, CREDENTIALS["AWS_SECRET_ACCESS_KEY"], *secrets):
        assert secret not in output
    assert _SIGNATURE.search(output) is None

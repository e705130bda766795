"""``voice-relay demo``: an evening in a guild through the whole path, on this machine alone.

    stand-in for Discord ──▶ voice-relay run ──▶ proxy ──▶ embedded AWS, the templates on it ──▶ webhook
     (this process)          (a child)     (this process)  (a child)                      (the stand-in)

Meanwhile the stand-in, the proxy and the bot's leash break what can break. At the end, the stand-in's own log
is compared with the inputs of the executions and with the messages in the channel. The exit code is 0 only if
both agree with it, transition by transition, and every gap is declared.
"""

from infra.local.demo.show import play

__all__ = ["play"]

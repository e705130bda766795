"""``voice-relay demo``: an evening in a guild through the whole path, on this machine alone.

    stand-in for Discord ──▶ voice-relay run ──▶ proxy ──▶ embedded AWS, the templates on it ──▶ webhook
     (this process)          (a child)     (this process)  (a child)                      (the stand-in)

Meanwhile the stand-in, the proxy and the bot's leash break what can break. At the end the stand-in's own
log is held against what the executions were given and what stands in the channel. Only if both agree with it,
transition by transition, and what nobody saw is declared, is the exit code 0.
"""

from infra.local.demo.show import play

__all__ = ["play"]

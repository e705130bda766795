"""``voice-relay demo``: an evening in a guild through the whole path, on this machine alone.

    stand-in for Discord ──▶ voice-relay run ──▶ embedded AWS, the templates deployed to it ──▶ its webhook
     (this process)           (a child)          (a child)                                       (stand-in)

At the end the stand-in's own log is held against what the executions were given and what stands in the
channel. Only if both agree with it, transition by transition, is the exit code 0.
"""

from infra.local.demo.show import play

__all__ = ["play"]

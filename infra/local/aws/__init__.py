"""An AWS that lives as long as the process that started it: CloudFormation, IAM, HTTP APIs, Step Functions.

ministack does the work, in a child process on a loopback port, with signatures and policies checked for
real. ``hooks`` adds the few things that the relay's templates need and ministack lacks.
"""

from infra.local.aws.embedded import EmbeddedAws

__all__ = ["EmbeddedAws"]

"""The embedded AWS: CloudFormation, IAM, HTTP APIs and Step Functions for the lifetime of this process.

ministack does the work in a child process on a loopback port, and really checks signatures and policies.
``hooks`` adds the few features that the relay's templates need and ministack lacks.
"""

from infra.local.aws.embedded import EmbeddedAws

__all__ = ["EmbeddedAws"]

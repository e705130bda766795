"""Memory and threads as measured, for the limits in the service definitions.

The relay: peak resident memory with 10,000 guilds of 10 channels and 3 people in voice (`tests.bench`).
The embedded AWS: resident memory with the stack deployed, then with 1,500 waiting executions of 16 KB input.
"""

RELAY_MIB = 136
RELAY_THREADS = 10
AWS_MIB = 78
AWS_THREADS = 8
# An execution that runs or waits is a thread of the embedded AWS.
EXECUTION_MIB = 0.14


def needed_mib(tasks: int) -> float:
    """Return the memory of a relay on one machine with so many threads."""
    return RELAY_MIB + AWS_MIB + EXECUTION_MIB * (tasks - RELAY_THREADS - AWS_THREADS)

"""Ranks of an MPI job: messages, scheduling, execution, devices, shared memory."""

from landscape._utils.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "RankError": "ranks",
        "Ranks": "ranks",
        "execute": "executor",
    },
)

"""Ranks of an MPI job: messages, scheduling, execution, devices, shared memory."""

from landscape._utils.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Call": "job",
        "RankContext": "worker",
        "RankError": "ranks",
        "Ranks": "ranks",
        "auto_ranks": "launch",
        "execute": "executor",
        "run_in_processes": "job",
        "run_on_ranks": "job",
    },
)

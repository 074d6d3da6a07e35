"""Sweeps: the loss at every point of a grid over a plane, on all ranks, into a store."""

from landscape._utils.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Axis": "grid",
        "Grid": "grid",
        "SweepConfig": "config",
        "SweepProgress": "config",
        "SweepResult": "config",
        "run_sweep": "sweep",
    },
)

"""From a problem and a plane to values: grid, evaluator, ranks, and the loop over pending points."""

from landscape._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Axis": "grid",
        "Grid": "grid",
        "Numerics": "evaluator",
        "Outcome": "plan",
        "Plan": "plan",
        "Progress": "plan",
        "RankError": "ranks",
        "Ranks": "ranks",
        "compute_surface": "sweep",
        "evaluating": "evaluator",
        "execute": "executor",
    },
)

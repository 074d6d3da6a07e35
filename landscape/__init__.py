"""Loss landscapes of neural networks: train, sweep a plane of weights on many ranks, draw what comes out.

The way of the data: ``problem`` -> ``training`` -> ``geometry`` -> ``evaluation`` -> ``sweep`` -> ``surface`` ->
``render``.
"""

from landscape._utils.lazy import lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "EvaluationConfig": "evaluation.config",
        "Grid": "sweep.grid",
        "Plane": "geometry.plane",
        "Problem": "problem.problem",
        "Split": "problem.problem",
        "Surface": "surface.surface",
        "SweepConfig": "sweep.config",
        "Weights": "geometry.weights",
        "compute_surface": "workflows.surface",
        "random_direction": "geometry.direction",
        "random_plane": "geometry.plane",
        "read_surface": "surface.reading",
    },
)

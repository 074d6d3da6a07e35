"""Directions, normalization, planes and trajectories: where in weight space a landscape is computed."""

from landscape._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Direction": "direction",
        "PathPoint": "trajectory",
        "Plane": "plane",
        "Projection": "plane",
        "RULES": "normalization",
        "Trajectory": "trajectory",
        "Weights": "weights",
        "cosine": "direction",
        "difference": "direction",
        "finish": "direction",
        "gaussian": "direction",
        "movable": "weights",
        "normalize": "normalization",
        "orthogonalize": "direction",
        "placed": "placement",
        "principal_directions": "pca",
        "project_path": "trajectory",
        "random_direction": "direction",
        "restrict": "direction",
    },
)

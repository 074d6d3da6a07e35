"""Directions, normalization, planes and trajectories: where in weight space a landscape is computed."""

from landscape._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "AxisRange": "range",
        "Direction": "direction",
        "IGNORED": "normalization",
        "PathPoint": "trajectory",
        "Plane": "plane",
        "PlaneFamily": "family",
        "Projection": "plane",
        "RULES": "normalization",
        "Trajectory": "trajectory",
        "Weights": "weights",
        "chosen": "direction",
        "cosine": "direction",
        "difference": "direction",
        "finish": "direction",
        "gaussian": "direction",
        "movable": "weights",
        "normalize": "normalization",
        "orthogonalize": "direction",
        "placed": "placement",
        "plane_through": "planes",
        "principal_directions": "pca",
        "principal_plane": "planes",
        "project_path": "trajectory",
        "random_direction": "direction",
        "random_plane": "planes",
        "range_by_loss": "range",
        "range_of_paths": "range",
        "restrict": "direction",
        "supplied": "direction",
    },
)

"""Directions, normalization, planes and trajectories: where in weight space a landscape is computed."""

from landscape._utils.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "AxisRange": "ranges",
        "Direction": "direction",
        "DirectionRecipe": "recipe",
        "IGNORED": "normalization",
        "PathPoint": "trajectory",
        "Plane": "plane",
        "PlaneFamily": "plane",
        "Projection": "plane",
        "RULES": "normalization",
        "Trajectory": "trajectory",
        "Weights": "weights",
        "cosine": "direction",
        "difference": "direction",
        "gaussian": "direction",
        "matching_names": "direction",
        "movable_on": "placement",
        "movable_tensors": "weights",
        "normalize": "normalization",
        "orthogonalize": "direction",
        "plane_through": "plane",
        "principal_directions": "pca",
        "principal_plane": "plane",
        "project_path": "trajectory",
        "random_direction": "direction",
        "random_plane": "plane",
        "range_by_loss": "ranges",
        "range_of_paths": "ranges",
    },
)

"""Directions, normalization, planes and trajectories in weight space."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landscape.geometry.direction import Direction as Direction
    from landscape.geometry.direction import cosine as cosine
    from landscape.geometry.direction import difference as difference
    from landscape.geometry.direction import gaussian as gaussian
    from landscape.geometry.direction import matching_names as matching_names
    from landscape.geometry.direction import orthogonalize as orthogonalize
    from landscape.geometry.direction import random_direction as random_direction
    from landscape.geometry.normalization import IGNORED as IGNORED
    from landscape.geometry.normalization import RULES as RULES
    from landscape.geometry.normalization import normalize as normalize
    from landscape.geometry.pca import principal_directions as principal_directions
    from landscape.geometry.placement import movable_on as movable_on
    from landscape.geometry.plane import Plane as Plane
    from landscape.geometry.plane import Projection as Projection
    from landscape.geometry.plane import plane_through as plane_through
    from landscape.geometry.plane import principal_plane as principal_plane
    from landscape.geometry.plane import random_plane as random_plane
    from landscape.geometry.plane_sets import PlaneFamily as PlaneFamily
    from landscape.geometry.plane_sets import PlaneSeries as PlaneSeries
    from landscape.geometry.ranges import AxisRange as AxisRange
    from landscape.geometry.ranges import range_by_loss as range_by_loss
    from landscape.geometry.ranges import range_of_paths as range_of_paths
    from landscape.geometry.recipe import DirectionRecipe as DirectionRecipe
    from landscape.geometry.trajectory import PathPoint as PathPoint
    from landscape.geometry.trajectory import Trajectory as Trajectory
    from landscape.geometry.trajectory import project_path as project_path
    from landscape.geometry.weights import Weights as Weights
    from landscape.geometry.weights import movable_tensors as movable_tensors
else:
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
            "PlaneFamily": "plane_sets",
            "PlaneSeries": "plane_sets",
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

"""Surfaces in memory and in HDF5 files, with their planes, trajectories and metadata."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landscape.surface.li2018.files import write_li_projection as write_li_projection
    from landscape.surface.li2018.files import write_li_surface as write_li_surface
    from landscape.surface.merge import MergeReport as MergeReport
    from landscape.surface.metadata import CheckpointReference as CheckpointReference
    from landscape.surface.metadata import Header as Header
    from landscape.surface.metadata import SurfaceMetadata as SurfaceMetadata
    from landscape.surface.plane_files import read_directions as read_directions
    from landscape.surface.plane_files import read_plane as read_plane
    from landscape.surface.plane_files import write_directions as write_directions
    from landscape.surface.reading import read_surface as read_surface
    from landscape.surface.settings import SweepSettings as SweepSettings
    from landscape.surface.store import FileStore as FileStore
    from landscape.surface.store import MemoryStore as MemoryStore
    from landscape.surface.surface import PointStatus as PointStatus
    from landscape.surface.surface import Surface as Surface
    from landscape.surface.trajectory_files import TrajectoryMetadata as TrajectoryMetadata
    from landscape.surface.trajectory_files import attach_trajectories as attach_trajectories
    from landscape.surface.trajectory_files import read_trajectories as read_trajectories
    from landscape.surface.trajectory_files import write_trajectories as write_trajectories
else:
    from landscape._utils.lazy import lazy

    __getattr__, __dir__, __all__ = lazy(
        __name__,
        {
            "CheckpointReference": "metadata",
            "FileStore": "store",
            "Header": "metadata",
            "MemoryStore": "store",
            "MergeReport": "merge",
            "PointStatus": "surface",
            "Surface": "surface",
            "SurfaceMetadata": "metadata",
            "SweepSettings": "settings",
            "TrajectoryMetadata": "trajectory_files",
            "attach_trajectories": "trajectory_files",
            "read_directions": "plane_files",
            "read_plane": "plane_files",
            "read_surface": "reading",
            "read_trajectories": "trajectory_files",
            "write_directions": "plane_files",
            "write_li_projection": "li2018.files",
            "write_li_surface": "li2018.files",
            "write_trajectories": "trajectory_files",
        },
    )

"""Surfaces in memory and on disk: one HDF5 file with three readers."""

from landscape._utils.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DONE": "surface",
        "FAILED": "surface",
        "FileStore": "store",
        "Header": "metadata",
        "MemoryStore": "store",
        "PENDING": "surface",
        "Surface": "surface",
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

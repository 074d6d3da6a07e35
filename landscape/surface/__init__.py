"""Surfaces in memory and on disk: one HDF5 file with three readers."""

from landscape._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DONE": "surface",
        "FAILED": "surface",
        "FileStore": "store",
        "Header": "header",
        "MemoryStore": "memory",
        "PENDING": "surface",
        "Surface": "surface",
        "attach_trajectories": "trajectories",
        "read_directions": "planes",
        "read_plane": "planes",
        "read_surface": "reading",
        "read_trajectories": "trajectories",
        "write_directions": "planes",
        "write_li_projection": "li_files",
        "write_li_surface": "li_files",
        "write_trajectories": "trajectories",
    },
)

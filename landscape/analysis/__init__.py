"""Numbers about a point or a surface: noise, curvature and checks."""

from landscape._utils.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Curvature": "curvature",
        "CurvatureConfig": "curvature",
        "Finding": "checks",
        "Noise": "noise",
        "check_evaluation": "checks",
        "check_surface": "checks",
        "noise_of": "noise",
        "read_curvature": "curvature_file",
        "write_curvature": "curvature_file",
    },
)

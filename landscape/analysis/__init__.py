"""Numbers about a point or a surface: noise, curvature and checks."""

from landscape._utils.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Curvature": "curvature.curvature",
        "CurvatureConfig": "curvature.curvature",
        "Finding": "checks",
        "Noise": "noise",
        "check_evaluation": "checks",
        "check_surface": "checks",
        "noise_of": "noise",
        "read_curvature": "curvature.file",
        "write_curvature": "curvature.file",
    },
)

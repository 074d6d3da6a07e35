"""Numbers about a point or a surface: noise and checks."""

from landscape._utils.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Finding": "checks",
        "Noise": "noise",
        "check_evaluation": "checks",
        "check_surface": "checks",
        "noise_of": "noise",
    },
)

"""Figures: curves and contours by matplotlib, scenes by VTK, files for other programs."""

from landscape._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "animate_scene": "flight",
        "choose_scale": "scale",
        "plot_contour": "contour",
        "plot_curve": "curve",
        "plot_history": "history",
        "plot_metrics": "panel",
        "plot_panel": "panel",
        "plot_path": "path",
        "plot_seed_band": "seeds",
        "render_scene": "scene",
        "save": "style",
        "seed_spread": "seeds",
    },
)

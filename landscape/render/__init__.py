"""Figures: curves and contours by matplotlib, scenes by VTK, files for other programs."""

from landscape._utils.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "animate_scene": "scenes.animation",
        "ContourOptions": "plots.options",
        "CurveOptions": "plots.options",
        "choose_scale": "scale",
        "plot_comparison": "plots.comparison",
        "plot_contour": "plots.contour",
        "plot_curve": "plots.curve",
        "plot_history": "plots.history",
        "plot_metrics": "plots.panels",
        "plot_panel": "plots.panels",
        "plot_path": "plots.path",
        "plot_seed_band": "plots.seeds",
        "render_scene": "scenes.scene",
        "save": "style",
        "seed_spread": "plots.seeds",
    },
)

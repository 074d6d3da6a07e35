"""Figures: curves and contours by matplotlib, scenes by VTK, files for other programs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landscape.render.exports.export import export as export
    from landscape.render.exports.job import ExportOptions as ExportOptions
    from landscape.render.plots.comparison import plot_comparison as plot_comparison
    from landscape.render.plots.contour import plot_contour as plot_contour
    from landscape.render.plots.curve import plot_curve as plot_curve
    from landscape.render.plots.descent import plot_descents as plot_descents
    from landscape.render.plots.history import History as History
    from landscape.render.plots.history import plot_history as plot_history
    from landscape.render.plots.history import plot_plane_loss as plot_plane_loss
    from landscape.render.plots.options import ContourOptions as ContourOptions
    from landscape.render.plots.options import CurveOptions as CurveOptions
    from landscape.render.plots.options import DescentPlotOptions as DescentPlotOptions
    from landscape.render.plots.options import PathOptions as PathOptions
    from landscape.render.plots.panels import plot_metrics as plot_metrics
    from landscape.render.plots.panels import plot_panel as plot_panel
    from landscape.render.plots.path import plot_path as plot_path
    from landscape.render.plots.seeds import plot_seed_band as plot_seed_band
    from landscape.render.plots.seeds import seed_spread as seed_spread
    from landscape.render.saving import save as save
    from landscape.render.scale import Scale as Scale
    from landscape.render.scale import choose_scale as choose_scale
    from landscape.render.scenes.animation import animate_scene as animate_scene
    from landscape.render.scenes.options import Motion as Motion
    from landscape.render.scenes.options import SceneOptions as SceneOptions
    from landscape.render.scenes.scene import render_scene as render_scene
else:
    from landscape._utils.lazy import lazy

    __getattr__, __dir__, __all__ = lazy(
        __name__,
        {
            "ContourOptions": "plots.options",
            "CurveOptions": "plots.options",
            "DescentPlotOptions": "plots.options",
            "ExportOptions": "exports.job",
            "History": "plots.history",
            "Motion": "scenes.options",
            "PathOptions": "plots.options",
            "Scale": "scale",
            "SceneOptions": "scenes.options",
            "animate_scene": "scenes.animation",
            "choose_scale": "scale",
            "export": "exports.export",
            "plot_comparison": "plots.comparison",
            "plot_contour": "plots.contour",
            "plot_curve": "plots.curve",
            "plot_descents": "plots.descent",
            "plot_history": "plots.history",
            "plot_metrics": "plots.panels",
            "plot_panel": "plots.panels",
            "plot_path": "plots.path",
            "plot_plane_loss": "plots.history",
            "plot_seed_band": "plots.seeds",
            "render_scene": "scenes.scene",
            "save": "saving",
            "seed_spread": "plots.seeds",
        },
    )

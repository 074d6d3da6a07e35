"""Panels: shared scale, colour bar, levels and colours, and a note on different ranges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.trajectory import Trajectory
from landscape.render.plots.options import ContourOptions
from landscape.render.plots.panels import plot_metrics, plot_panel
from landscape.render.saving import save
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.surface import Surface


def surface(name: str, factor: float = 1.0, right: float = 1.5, status: int = 1) -> Surface:
    x, y = np.linspace(-1, right, 21), np.linspace(-0.6, 1, 13)
    loss = factor * (0.05 + x**2 + y[:, None] ** 2)
    if not status:
        loss = np.full(loss.shape, np.nan)
    values = {"train_loss": loss, "train_acc": 100 / (1 + loss)}
    return Surface((x, y), values, np.full(loss.shape, status, np.uint8), name=name)


def trajectory(name: str) -> Trajectory:
    blank = np.full(2, np.nan)
    return Trajectory(name, np.arange(2), np.arange(2.0), np.array([(0.8, 0.5), (0, 0)]), *(blank,) * 5)


def panels(figure) -> list:
    return [ax for ax in figure.axes if ax.get_subplotspec() is not None]


def bars(figure) -> list:
    return [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]


def test_shared_scale_levels_and_bar() -> None:
    figure = plot_panel([surface("a"), surface("b", 100), surface("c", 0.1)]).figure
    axes = panels(figure)
    assert [ax.get_title() for ax in axes] == ["a", "b", "c"]
    assert len(bars(figure)) == 1
    filled = [ax.collections[0] for ax in axes]
    ends = {tuple(one.get_clim()) for one in filled}
    assert len(ends) == 1
    low, high = ends.pop()
    assert low == pytest.approx(np.log10(0.1 * surface("").values["train_loss"].min()))
    assert high == pytest.approx(np.log10(100 * surface("").values["train_loss"].max()))
    assert all(np.array_equal(one.levels, filled[0].levels) for one in filled)
    for ax in axes:
        texts = [text.get_text() for text in ax.texts]
        assert texts
        assert len(texts) == len(set(texts))


@pytest.mark.parametrize(
    ("count", "size", "grid"),
    [(1, "page", (1, 1)), (2, "page", (1, 2)), (4, "page", (1, 4)), (5, "neurips", (2, 3)), (3, "column", (2, 2))],
)
def test_grid(count: int, size: str, grid: tuple[int, int]) -> None:
    figure = plot_panel([surface(f"{i}") for i in range(count)], options=ContourOptions(style="heat", size=size)).figure
    axes = panels(figure)
    assert len(axes) == count
    assert axes[0].get_subplotspec().get_gridspec().get_geometry() == grid
    labelled = [ax for ax in axes if ax.get_xlabel()]
    assert len(labelled) == min(count, grid[1])
    assert [bool(ax.get_ylabel()) for ax in axes] == [i % grid[1] == 0 for i in range(count)]


def test_different_ranges() -> None:
    figure = plot_panel([surface("a"), surface("b", right=3.0)], options=ContourOptions(style="heat")).figure
    assert [ax.get_xlim() for ax in panels(figure)] == [(-1, 1.5), (-1, 3)]
    assert not figure.texts


def test_colour_of_each_run() -> None:
    paths = {"a": [trajectory("SGD"), trajectory("Adam")], "b": [trajectory("Adam")]}
    artists = plot_panel([surface("a"), surface("b")], paths, options=ContourOptions(style="heat"))
    figure = artists.figure
    colours = [{line.get_label(): line.get_color() for line in ax.lines} for ax in panels(figure)]
    assert colours[0]["Adam"] == colours[1]["Adam"] != colours[0]["SGD"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["start", "end"]
    assert [path.name.get_text() for panel in artists.panels for path in panel.paths] == ["SGD", "Adam", "Adam"]


def test_pending_surface() -> None:
    figure = plot_panel([surface("a"), surface("b", status=0)]).figure
    assert any("not yet computed" in text.get_text() for text in figure.texts)
    with pytest.raises(ValueError, match="nothing is computed yet"):
        plot_panel([surface("b", status=0)])


def test_texts_do_not_overlap_and_saving_is_reproducible(tmp_path: Path) -> None:
    figure = plot_panel([surface("a"), surface("b", right=3.0)], [[trajectory("SGD")]] * 2).figure
    first = save(figure, tmp_path / "a.png", 80).read_bytes()
    assert first == save(figure, tmp_path / "b.png", 80).read_bytes()
    renderer = figure.canvas.get_renderer()
    (note,) = figure.texts
    box = note.get_window_extent(renderer)
    assert box.x0 >= 0
    assert box.y0 >= 0
    for ax in panels(figure):
        assert ax.get_tightbbox(renderer).y0 > box.y1
        assert figure.legends[0].get_window_extent(renderer).y0 > ax.title.get_window_extent(renderer).y1


def test_metrics_have_own_scales() -> None:
    figure = plot_metrics(surface("a"), [trajectory("SGD")]).figure
    assert len(panels(figure)) == 2
    labels = [child.get_ylabel() for ax in panels(figure) for child in ax.child_axes]
    assert labels == ["training loss", "training accuracy (%)"]
    for ax in panels(figure):
        texts = [text.get_text() for text in ax.texts]
        assert texts
        assert len(texts) == len(set(texts))


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="at least one surface"):
        plot_panel([])
    with pytest.raises(ValueError, match="no surface has that name; expected names among a"):
        plot_panel([surface("a")], {"b": []})
    with pytest.raises(ValueError, match="for each of 2 surfaces"):
        plot_panel([surface("a"), surface("b")], [[trajectory("SGD")]])


def test_noise_of_metrics_with_errors(slope) -> None:
    given = slope(x=(-0.5, 0.5), nx=9)
    figure = plot_metrics(given, metrics=["train_loss", "train_acc"], options=ContourOptions(noise=True)).figure
    assert sum("indistinguishable" in text.get_text().replace("\n", " ") for text in figure.findobj(Text)) == 1
    with pytest.raises(ValueError, match="train_acc has no standard error"):
        plot_metrics(given, metrics=["train_acc"], options=ContourOptions(noise=True))


def test_given_axes() -> None:
    figure = Figure(layout="constrained")
    axes = list(figure.subplots(1, 2))
    artists = plot_panel([surface("a"), surface("b", right=3.0)], [[trajectory("SGD")], []], ax=axes)
    assert artists.axes == tuple(axes)
    assert artists.figure is figure
    assert artists.notes == ("smoothed between 21 × 13 points",)
    assert len(bars(figure)) == 1
    assert [ax.get_xlabel() for ax in axes] == ["direction 1"] * 2
    with pytest.raises(ValueError, match="expected 2 axes, one for each panel, got 1"):
        plot_metrics(surface("a"), ax=axes[:1])


def test_long_titles_are_broken_at_column_width() -> None:
    titles = ["resnet56, with shortcuts", "resnet56, without any shortcuts"]
    options = ContourOptions(size="column", axis_labels=("direction 1", "direction 2"))
    figure = plot_panel([surface("a"), surface("b")], titles=titles, options=options).figure
    figure.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in panels(figure)]
    boxes += [ax.xaxis.label.get_window_extent() for ax in panels(figure)]
    for k, one in enumerate(boxes):
        for other in boxes[k + 1 :]:
            assert not one.overlaps(other)
    assert [ax.get_title().replace("\n", " ") for ax in panels(figure)] == titles


def test_notes_of_one_panel_say_which() -> None:
    figure = plot_panel([surface("a"), surface("b", right=3.0, status=1)], [[trajectory("SGD")], []]).figure
    notes = " ".join(text.get_text().replace("\n", " ") for text in figure.texts)
    assert "left: SGD" in notes or "SGD" not in notes


def test_shares_of_variance_are_at_the_axes_of_each_panel() -> None:
    def on_components(name: str, first: float) -> Surface:
        recipes = (DirectionRecipe(kind="pca", explained_variance_ratio=first),
                   DirectionRecipe(kind="pca", explained_variance_ratio=0.1))  # fmt: skip
        return replace(surface(name), metadata=SurfaceMetadata(recipes=recipes))

    options = ContourOptions(style="heat")
    differ = plot_panel([on_components("a", 0.84), on_components("b", 0.7)], options=options)
    assert [ax.get_xlabel() for ax in differ.axes] == ["PC 1 (84%)", "PC 1 (70%)"]
    assert [ax.get_ylabel() for ax in differ.axes] == ["PC 2 (10%)"] * 2
    assert differ.notes[-1] == "PC: principal component (% of the variance)"
    equal = plot_panel([on_components("a", 0.84), on_components("b", 0.84)], options=options)
    assert [ax.get_ylabel() for ax in equal.axes] == ["PC 2 (10%)", ""]


def test_panels_of_different_ranges_are_equally_high() -> None:
    for size, rights in (("page", (1.0, 2.5)), ("page", (1.0, 2.0, 3.0)), ("slide", (1, 4, 2, 1.5, 1, 3))):
        surfaces = [surface(str(k), right=right) for k, right in enumerate(rights)]
        figure = plot_panel(surfaces, options=ContourOptions(style="heat", size=size)).figure
        figure.draw_without_rendering()
        rows: dict[float, list[float]] = {}
        for ax in panels(figure):
            rows.setdefault(round(ax.bbox.y0), []).append(ax.bbox.height)
        assert sum(map(len, rows.values())) == len(rights)
        for heights in rows.values():
            assert max(heights) - min(heights) < 1.5, "pixels"
        if size == "page":
            assert len(rows) == 1
            for ax in panels(figure):
                (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
                unit = ax.bbox.width / (right - left), ax.bbox.height / (top - bottom)
                assert unit[0] == pytest.approx(unit[1], rel=0.01)

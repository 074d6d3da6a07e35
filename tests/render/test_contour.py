"""Contours: values at their coordinates, missing points, labels in the unit of the metric, and no overlaps."""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape.geometry.trajectory import Trajectory
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.options import CONTOUR_STYLES, ContourOptions
from landscape.render.scale import choose_scale
from landscape.render.style import SIZES, Size
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.settings import SweepSettings
from landscape.surface.surface import DONE, STOPPED, Surface

MINIMUM = (0.7, -0.2)
SMOOTHED = "smoothed between 41 \N{MULTIPLICATION SIGN} 27 points"


def quadratic(x, y):
    return 0.1 + 40 * (x - MINIMUM[0]) ** 2 + 160 * (y - MINIMUM[1]) ** 2


def steep(x, y):
    """Smooth in its logarithm, so that lines interpolated there are exact but for the grid's curvature."""
    return 10 ** (1.2 * (x - MINIMUM[0]) ** 2 + 2.5 * (y - MINIMUM[1]) ** 2 - 1.7)


def surface(nx: int = 41, ny: int = 27, function=quadratic, **changes) -> Surface:
    """Neither square nor symmetric: x from -1 to 1.5, y from -0.6 to 1."""
    x, y = np.linspace(-1, 1.5, nx), np.linspace(-0.6, 1, ny)
    loss = function(x[None, :], y[:, None])
    values = {"train_loss": loss, "train_acc": 100 / (1 + loss)}
    status = np.ones(loss.shape, np.uint8)
    return Surface(**{"coordinates": (x, y), "values": values, "status": status, "name": "a", **changes})


def trajectory(points, name: str = "SGD", rate=None, distance=None) -> Trajectory:
    points = np.asarray(points, dtype=np.float64)
    n = len(points)
    blank = np.full(n, np.nan)
    return Trajectory(
        name, np.arange(n), np.arange(n, dtype=float), points, blank if distance is None else np.asarray(distance),
        blank, blank, blank, blank if rate is None else np.asarray(rate),
    )  # fmt: skip


def number(text: str) -> float:
    plain = text.replace("$", "").replace("\N{MINUS SIGN}", "-")
    match = re.fullmatch(r"(-?)(?:([\d.]+)\\times)?10\^\{(-?\d+)\}", plain)
    return float(f"{match[1]}{match[2] or 1}e{match[3]}") if match else float(plain)


def boxes(artists, texts):
    renderer = artists.axes.figure.canvas.get_renderer()
    artists.axes.figure.draw_without_rendering()
    return [text.get_window_extent(renderer) for text in texts]


def test_heat_map_cells() -> None:
    given = surface()
    heat = plot_contour(given, options=ContourOptions(style="heat")).heat
    mesh, values = heat.get_coordinates(), heat.get_array()
    row, column = np.unravel_index(values.argmin(), values.shape)
    assert values.shape == (27, 41)
    assert mesh[row, column, 0] < MINIMUM[0] < mesh[row, column + 1, 0]
    assert mesh[row, column, 1] < MINIMUM[1] < mesh[row + 1, column, 1]
    np.testing.assert_array_equal(values, given.values["train_loss"])
    assert heat.axes.get_xlim() == (-1, 1.5)
    assert heat.axes.get_ylim() == (-0.6, 1)


@pytest.mark.parametrize("style", ["both", "lines"])
def test_lines_follow_levels(style: str) -> None:
    artists = plot_contour(surface(81, 53, steep), options=ContourOptions(style=style, level_labels=False))
    assert artists.scale.kind == "log"
    assert 8 <= len(artists.levels) <= 16
    for level, path in zip(artists.levels, artists.lines.get_paths(), strict=True):
        assert len(path.vertices), level
        np.testing.assert_allclose(steep(*path.vertices.T), level, rtol=5e-3)


def test_minimum_in_lowest_band() -> None:
    artists = plot_contour(surface(), options=ContourOptions(style="filled"))
    paths = artists.filled.get_paths()
    at = [k for k, path in enumerate(paths) if len(path.vertices) and path.contains_point(MINIMUM)]
    assert 0 in at
    # Transposed, the minimum would be here, far up the bowl.
    assert not paths[0].contains_point(MINIMUM[::-1])
    heights = artists.filled.levels
    np.testing.assert_allclose(artists.scale.inverse(heights[1:-1]), artists.levels)


@pytest.mark.parametrize("kind", ["log", "linear", "symlog"])
@pytest.mark.parametrize("style", CONTOUR_STYLES)
def test_labels_are_values(kind: str, style: str) -> None:
    artists = plot_contour(surface(), options=ContourOptions(style=style, scale=kind, colour_bar=True))
    artists.axes.figure.draw_without_rendering()
    axis = artists.colour_bar.ax.yaxis
    places = axis.get_majorticklocs()
    values = places if style == "heat" else artists.scale.inverse(places)
    texts = [label.get_text() for label in axis.get_majorticklabels()]
    assert len(texts) >= 3
    np.testing.assert_allclose([number(text) for text in texts], values, rtol=1e-9, atol=1e-12)
    assert artists.scale.kind == kind
    for text in artists.labels:
        value, (x, y) = number(text.get_text()), text.get_position()
        assert np.isclose(artists.levels, value).any()
        np.testing.assert_allclose(quadratic(x, y), value, rtol=0.2 if value < 5 else 0.05)


def test_missing_points_are_shaded() -> None:
    plain = surface()
    loss, status = plain.values["train_loss"].copy(), plain.status.copy()
    loss[5:9, 3:8], loss[0, 0] = np.nan, np.inf
    status[-4:, 20:] = 0
    loss[status == 0] = np.nan
    given = surface(values={"train_loss": loss}, status=status)
    kept = loss.copy()
    for style in CONTOUR_STYLES:
        artists = plot_contour(given, options=ContourOptions(style=style))
        np.testing.assert_array_equal(given.values["train_loss"], kept)
        pending, bad = artists.missing
        assert bad.get_path().contains_point((given.x[5], given.y[6]))
        assert pending.get_path().contains_point((given.x[30], given.y[-2]))
        assert not bad.get_path().contains_point(MINIMUM)
        assert artists.notes[style == "lines" :][:2] == ("hatched: not finite", "dotted: not yet computed")
        assert (SMOOTHED in artists.notes) == (style != "heat")
        if artists.filled is not None:
            hidden = [(given.x[5], given.y[6]), (given.x[30], given.y[-2])]
            for path in artists.filled.get_paths():
                assert not any(path.contains_point(point) for point in hidden if len(path.vertices))
        if artists.heat is not None:
            assert np.array_equal(np.ma.getmaskarray(artists.heat.get_array()), ~np.isfinite(loss))


def test_failed_point_note() -> None:
    plain = surface()
    loss, status = plain.values["train_loss"].copy(), plain.status.copy()
    loss[3, 3], status[3, 3] = np.nan, 2
    assert plot_contour(surface(values={"train_loss": loss}, status=status)).notes == ("hatched: failed", SMOOTHED)


def test_clipped_scale() -> None:
    scale = choose_scale(surface().values["train_loss"], vmax=10)
    for style in ("both", "heat"):
        artists = plot_contour(surface(), options=ContourOptions(style=style, scale=scale))
        assert artists.colour_bar.extend == "max"
        assert artists.notes[0] == "training loss clipped at 10"
    assert artists.axes.texts[-1].get_text() == artists.notes[0]


def test_linear_accuracy_and_constant_surface() -> None:
    assert plot_contour(surface(), metric="train_acc").scale.kind == "linear"
    flat = plot_contour(surface(function=lambda x, y: 3.0 + 0 * (x + y)))
    assert flat.lines is None
    assert not flat.labels


def test_given_levels() -> None:
    artists = plot_contour(surface(), options=ContourOptions(levels=[1, 10, 100]))
    np.testing.assert_array_equal(artists.levels, [1, 10, 100])
    assert len(artists.lines.get_paths()) == 3
    assert len(plot_contour(surface(), options=ContourOptions(levels=6)).levels) <= 8


def test_aspect() -> None:
    assert plot_contour(surface()).axes.get_aspect() == 1
    long = surface()
    long = surface(coordinates=(long.x * 10, long.y))
    assert plot_contour(long).axes.get_aspect() == "auto"
    assert plot_contour(long, options=ContourOptions(aspect="equal")).axes.get_aspect() == 1


def test_descending_axis() -> None:
    plain = surface()
    flipped = Surface(
        (plain.x[::-1], plain.y), {"train_loss": plain.values["train_loss"][:, ::-1]}, plain.status[:, ::-1]
    )
    artists = plot_contour(flipped, options=ContourOptions(style="lines"))
    assert artists.axes.get_xlim() == (-1, 1.5)
    path = artists.lines.get_paths()[5]
    np.testing.assert_allclose(quadratic(*path.vertices.T), artists.levels[5], rtol=0.1)


def test_paths() -> None:
    inside = trajectory([(-0.5, 0.9), (0.2, 0.1), (0.0, 0.0)], "Adam", rate=[0.1, 0.1, 0.01])
    leaving = trajectory([(3.0, 2.0), (0.5, 0.5), (0.0, 0.0)])
    artists = plot_contour(surface(), [leaving, inside], options=ContourOptions(distance=True))
    assert artists.axes.get_xlim() == (-1, 1.5)
    assert artists.axes.get_ylim() == (-0.6, 1)
    first, second = artists.paths
    np.testing.assert_array_equal(np.transpose(second.line.get_data()), inside.coordinates)
    assert first.rates is None
    assert np.ravel(second.rates.get_data()).tolist() == [0.2, 0.1]
    assert artists.notes[0] == "SGD leaves the plotted range (1 of 3 checkpoints outside)"
    assert not any("Adam leaves" in note for note in artists.notes)
    legend = next(child for child in artists.axes.get_children() if hasattr(child, "get_texts"))
    assert [text.get_text() for text in legend.get_texts()] == ["start", "end", "LR change"]
    assert [path.name.get_text() for path in artists.paths] == ["SGD", "Adam"]


def test_given_axes() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    artists = plot_contour(surface(), [trajectory([(0, 0.5), (0, 0)])], ax=right)
    assert artists.axes is right
    assert not left.has_data()
    assert artists.colour_bar.ax in [*figure.axes, *right.child_axes]
    figure.draw_without_rendering()


def test_title_is_above_legend() -> None:
    options = ContourOptions(title="a title")
    artists = plot_contour(surface(), [trajectory([(0, 0.5), (0, 0)])], options=options)
    legend = next(child for child in artists.axes.get_children() if hasattr(child, "get_texts"))
    (title,) = boxes(artists, [artists.axes.title])
    assert title.y0 >= legend.get_window_extent().y1 - 1
    assert title.y1 <= artists.figure.bbox.y1


def test_short_repr() -> None:
    artists = plot_contour(surface(), [trajectory([(0, 0.5), (0, 0)])], options=ContourOptions(levels=[1, 10]))
    assert (
        repr(artists)
        == "<ContourArtists: axes, scale, 2 levels, filled, lines, 2 labels, colour_bar, 1 paths, 1 notes>"
    )
    assert len(repr(artists.paths[0])) < 100


def test_clip_option() -> None:
    artists = plot_contour(surface(), options=ContourOptions(clip=10.0))
    assert artists.scale == choose_scale(surface().values["train_loss"], vmax=10)


@pytest.mark.parametrize(
    ("size", "style"),
    [
        ("column", "both"),
        pytest.param("column", "lines", marks=pytest.mark.slow),
        pytest.param("neurips", "both", marks=pytest.mark.slow),
        pytest.param("icml", "filled", marks=pytest.mark.slow),
        ("slide", "both"),
        ("page", "heat"),
    ],
)
def test_texts_do_not_overlap(size: str, style: str) -> None:
    def barriers(x, y):
        return 10 ** (-1.7 + 3.5 * (x**2 + y**2) / (0.3 + x**2 + y**2) + np.sin(6 * x) * np.cos(7 * y) * (x**2 + y**2))

    paths = [trajectory([(1.2, 0.8), (0.5, 0.7), (0, 0)], rate=[1, 1, 0.1]), trajectory([(-0.9, 5), (0, 0)], "Adam")]
    artists = plot_contour(
        surface(function=barriers), paths, options=ContourOptions(style=style, size=size, distance=True)
    )
    figure, ax = artists.axes.figure, artists.axes
    assert figure.get_figwidth() == SIZES[size].width
    inline = boxes(artists, artists.labels)
    for i, one in enumerate(inline):
        assert not any(one.overlaps(other) for other in inline[i + 1 :])
        assert ax.bbox.x0 <= one.x0
        assert one.x1 <= ax.bbox.x1
        assert ax.bbox.y0 <= one.y0
        assert one.y1 <= ax.bbox.y1
    legend = next(child for child in ax.get_children() if hasattr(child, "get_texts"))
    note = next(text for text in ax.texts if "leaves" in text.get_text())
    shown = [
        label
        for axis in (ax.xaxis, ax.yaxis)
        for place, label in zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
        if label.get_text() and min(axis.get_view_interval()) <= place <= max(axis.get_view_interval())
    ]
    around = [note, ax.xaxis.label, ax.yaxis.label, *legend.get_texts(), *shown]
    if artists.colour_bar:
        around += [artists.colour_bar.ax.yaxis.label]
    outer = boxes(artists, around)
    assert legend.get_window_extent().y0 >= ax.bbox.y1 - 1
    assert outer[0].y1 <= outer[1].y0
    for i, (text, one) in enumerate(zip(around, outer, strict=True)):
        assert figure.bbox.x0 - 1 <= one.x0, text
        assert one.x1 <= figure.bbox.x1 + 1, text
        assert figure.bbox.y0 - 1 <= one.y0, text
        assert one.y1 <= figure.bbox.y1 + 1, text
        for other, box in zip(around[i + 1 :], outer[i + 1 :], strict=True):
            # Boxes of text have a little air: what touches by a pixel does not overlap in ink.
            assert not one.expanded(0.9, 0.8).overlaps(box.expanded(0.9, 0.8)), (text, other)


@pytest.mark.parametrize("width", [1.4, 2.4])
def test_crowded_labels_are_dropped(width: float) -> None:
    def well(x, y):
        return 10 ** (-4 * np.exp(-((x - MINIMUM[0]) ** 2 + (y - MINIMUM[1]) ** 2) / 0.04))

    artists = plot_contour(
        surface(121, 81, well), options=ContourOptions(size=Size(width, width, 8, 7), colour_bar=False, levels=20)
    )
    assert len(artists.labels) < len(artists.scale.roundest(artists.levels, 8))
    inline = boxes(artists, artists.labels)
    assert inline
    for i, one in enumerate(inline):
        assert not any(one.overlaps(other) for other in inline[i + 1 :])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "test_loss"}, "no metric 'test_loss'"),
        ({"options": ContourOptions(scale="cubic")}, "one of auto, log"),
        ({"trajectories": [trajectory([(0.0,), (1.0,)])]}, "on two axes, got 1"),
    ],
)
def test_wrong_arguments(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot_contour(surface(), **change)


def test_unknown_style() -> None:
    with pytest.raises(ValueError, match="one of both, lines, filled, heat, got 'stripes'"):
        ContourOptions(style="stripes")


def test_wrong_surfaces() -> None:
    line = Surface((np.arange(3.0),), {"train_loss": np.ones(3)}, np.ones(3, np.uint8))
    with pytest.raises(ValueError, match="plot_curve"):
        plot_contour(line)
    with pytest.raises(ValueError, match="at least two points"):
        plot_contour(surface(ny=1))
    axes = (np.arange(2.0),) * 3
    with pytest.raises(ValueError, match="take a slice"):
        plot_contour(Surface(axes, {"train_loss": np.ones((2, 2, 2))}, np.ones((2, 2, 2), np.uint8)))
    with pytest.raises(ValueError, match="no finite value"):
        plot_contour(surface(function=lambda x, y: np.nan * (x + y)))


def noisy(error: float, **changes) -> Surface:
    """Loss 5 + x of one paired standard error, so that the noise is the strip |x| < 2 errors; on a finer x around 0."""
    x, y = np.linspace(-1, 1.5, 26), np.linspace(-0.6, 1, 9)
    loss = 5 + x[None, :] + 0 * y[:, None]
    errors = np.where(np.abs(loss - 5) < 1e-9, 0.0, error)
    values = {"train_loss": loss, "train_loss_paired_stderr": errors}
    origin = SurfaceMetadata(origin_values={"train_loss": 5.0})
    return Surface((x, y), values, np.ones(loss.shape, np.uint8), origin, "a", **changes)


@pytest.mark.parametrize("style", CONTOUR_STYLES)
def test_noise_is_hatched(style) -> None:
    artists = plot_contour(noisy(0.165), options=ContourOptions(style=style, noise=True))
    paths = [artists.noise.get_path()] if style == "heat" else artists.noise.get_paths()
    corners = np.concatenate([path.vertices for path in paths if len(path.vertices)])
    reach = 0.35 if style == "heat" else 0.33  # whole cells of a tenth, of points up to 0.3; else where it crosses
    assert corners[:, 0].min() == pytest.approx(-reach, abs=1e-6)
    assert corners[:, 0].max() == pytest.approx(reach, abs=1e-6)
    assert corners[:, 1].max() >= 1.0
    # Where difference and error are both zero, as at every origin, there is no hole.
    assert any(path.contains_point((0.001, 0.3)) for path in paths)
    assert any("cross-hatched: indistinguishable from the origin (2 paired s.e.)" in note for note in artists.notes)
    assert plot_contour(noisy(0.165), options=ContourOptions(style=style)).noise is None


def test_no_noise_note() -> None:
    artists = plot_contour(noisy(0.01), options=ContourOptions(noise=True))
    assert artists.noise is None
    assert any(note.startswith("no point is within 2 paired") for note in artists.notes)
    with pytest.raises(ValueError, match="no standard error"):
        plot_contour(surface(), options=ContourOptions(noise=True))


@pytest.mark.parametrize("style", CONTOUR_STYLES)
def test_stopped_points(style) -> None:
    given = surface()
    loss = given.values["train_loss"]
    status = np.where(loss > 20, STOPPED, DONE).astype(np.uint8)
    values = {"train_loss": np.where(loss > 20, 21.0, loss), "train_acc": np.where(loss > 20, np.nan, loss)}
    cut = surface(values=values, status=status, metadata=SurfaceMetadata(SweepSettings(stop_above=20.0)))
    artists = plot_contour(cut, options=ContourOptions(style=style))
    assert artists.scale.vmax == artists.scale.highest == loss[loss <= 20].max()
    assert len(artists.missing) == 1
    assert "hatched: not computed above training loss 20" in artists.notes
    if style == "heat":
        np.testing.assert_array_equal(np.ma.getmaskarray(artists.heat.get_array()), loss > 20)
    if style in ("both", "filled"):  # up to the highest that was measured, on the way to the bound
        reach = np.concatenate([path.vertices for path in artists.filled.get_paths() if len(path.vertices)])
        assert quadratic(reach[:, 0], reach[:, 1]).max() < 40
    assert (
        "hatched: not computed above training loss 20"
        in plot_contour(cut, metric="train_acc", options=ContourOptions(style=style)).notes
    )


def test_smooth_contours_through_grid_points() -> None:
    """On a coarse grid the smooth line is nearer to the circle that it is part of, and heat maps have no note."""
    coarse = surface(nx=11, ny=11, function=lambda x, y: 0.1 + x**2 + y**2)
    worst = {}
    for smooth in (True, False):
        options = ContourOptions(style="lines", scale="linear", levels=[0.35], smooth=smooth, colour_bar=False)
        artists = plot_contour(coarse, options=options)
        (path,) = artists.lines.get_paths()
        worst[smooth] = np.abs(np.hypot(*path.vertices.T) - 0.5).max()
        assert any("smoothed between 11" in note for note in artists.notes) == smooth
    assert worst[True] < 0.6 * worst[False]
    assert not plot_contour(coarse, options=ContourOptions(style="heat")).notes


def test_contour_labels_have_no_small_exponents() -> None:
    steep_surface = surface(function=lambda x, y: 10 ** (4 * x + 2 * y))
    artists = plot_contour(steep_surface, options=ContourOptions(levels=[1e-5, 1e-2, 1, 100, 1e5]))
    texts = {text.get_text() for text in artists.labels}
    assert texts
    assert texts <= {"1e-5", "0.01", "1", "100", "100000"}


def test_lines_without_bar_name_their_quantity() -> None:
    assert plot_contour(surface(), options=ContourOptions(style="lines")).notes[0] == "contours of the training loss"


def test_distance_is_stated_unless_on_the_plane() -> None:
    far = trajectory([(0, 0.5), (0, 0)], distance=[3.0, 0.0])
    on = trajectory([(0, 0.5), (0, 0)], distance=[0.0, 0.0])
    notes = plot_contour(surface(), [far, on]).notes
    assert next(note for note in notes if "off the plane" in note).count("(") == 1
    assert not any("the plane" in note for note in plot_contour(surface(), [on]).notes)
    silent = plot_contour(surface(), [far], options=ContourOptions(distance=False))
    assert not any("the plane" in note for note in silent.notes)


def test_names_at_ends_are_not_in_the_legend() -> None:
    apart = [trajectory([(0, 0.5), (x, y)], name) for x, y, name in ((-0.6, 0.2, "one"), (0.9, 0.3, "another"))]
    artists = plot_contour(surface(), apart)
    assert [path.name.get_text() for path in artists.paths] == ["one", "another"]
    assert [path.name.get_color() for path in artists.paths] == [path.line.get_color() for path in artists.paths]
    legend = next(child for child in artists.axes.get_children() if hasattr(child, "get_texts"))
    assert [text.get_text() for text in legend.get_texts()] == ["start", "end"]
    long = trajectory(
        [(0, 0.5), (0.9, 0.3)], "a name far too long to be written inside of these axes, which are narrow"
    )
    mixed = plot_contour(surface(), [apart[0], long])
    assert mixed.paths[1].name is None
    legend = next(child for child in mixed.axes.get_children() if hasattr(child, "get_texts"))
    assert [text.get_text() for text in legend.get_texts()] == [long.name, "start", "end"]


def test_levels_are_not_written_under_paths_and_their_names() -> None:
    """A path along a ring of the bowl, ending on it."""
    angles = np.linspace(0, 1.9 * np.pi, 40)
    for radius in (0.2, 0.35, 0.5):
        path = trajectory(list(zip(radius * np.cos(angles), radius * np.sin(angles), strict=True)), "SGD")
        artists = plot_contour(surface(), [path])
        ax = artists.axes
        line = ax.transData.transform(np.column_stack(artists.paths[0].line.get_data()))
        assert artists.labels
        for text in artists.labels:
            middle = np.array(ax.transData.transform(text.get_position()))
            assert np.linalg.norm(line - middle, axis=1).min() > 0.5 * text.get_fontsize() * artists.figure.dpi / 72

"""Small multiples by settings: what differs, rows and columns, seeds and slices."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from landscape import PlotOptions, plot
from landscape.surface.metadata import CheckpointReference, SurfaceMetadata, SweepSettings
from landscape.surface.surface import DONE, Surface
from landscape.workflows.multiples import MAX_PANELS, draw_grid, seeds_of, slices_of
from landscape.workflows.variations import telling, variations


def surface(model="mlp", name="", checkpoint="", **arguments):
    x, y = np.linspace(-1, 1, 4), np.linspace(-1, 1, 3)
    loss = 0.1 + x[None, :] ** 2 + y[:, None] ** 2 + len(model)
    metadata = SurfaceMetadata(
        problem={"model": model, "model_args": arguments},
        checkpoint=CheckpointReference(checkpoint) if checkpoint else None,
    )
    return Surface((x, y), {"train_loss": loss}, np.full(loss.shape, DONE, np.uint8), metadata, name)


def run(folder, batch_size, weight_decay):
    """Return the checkpoint of a recorded run."""
    folder.mkdir()
    record = {
        "format": "landscape-run-1",
        "problem": {"model": "mlp"},
        "optimizer": {"name": "sgd", "arguments": {"lr": 0.1, "weight_decay": weight_decay, "foreach": None}},
        "settings": {"epochs": 2, "batch_size": batch_size},
        "steps_per_epoch": 1,
        "steps": 2,
        "created": "2026-01-01T00:00:00+00:00",
    }
    (folder / "run.json").write_text(json.dumps(record))
    return str(folder / "checkpoints" / "step-00000002.pt")


def panels(drawn):
    """Return headings and panel titles, without axis titles and notes."""
    return [text.get_text().replace("\n", " ") for text in drawn.figure.texts if text.get_text()]


def test_depth_and_shortcuts_are_rows_and_columns(legible):
    names = ("resnet56_noshort", "resnet20", "resnet56", "resnet20_noshort", "resnet110", "resnet110_noshort")
    given = [surface(name) for name in names]
    drawn = draw_grid(given, (), PlotOptions())
    legible(drawn.figure)
    words = panels(drawn)
    assert words[:5] == ["depth 20", "depth 56", "depth 110", "with shortcuts", "without shortcuts"]
    turned = panels(draw_grid(given, (), PlotOptions(grid="depth,shortcuts")))
    assert turned[:5] == ["with shortcuts", "without shortcuts", "depth 20", "depth 56", "depth 110"]


def test_panels_are_where_their_headings_say():
    sizes = {16: 1.0, 512: 2.0}
    given = [
        replace(surface(width=width, decay=decay), values={"train_loss": np.full((3, 4), value + 10 * decay)})
        for width, value in sizes.items()
        for decay in (0, 1)
    ]
    for one in given:
        one.values["train_loss"][0, 0] += 1
    drawn = draw_grid(given[::-1], (), PlotOptions(grid="decay,width", style="heat"))
    found = [float(panel.heat.get_array()[1, 1]) for panel in drawn.panels]
    assert found == [1.0, 2.0, 11.0, 12.0]
    assert panels(drawn)[:4] == ["width 16", "width 512", "decay 0", "decay 1"]


def test_settings_of_training_come_from_the_run(tmp_path):
    given = [
        surface(checkpoint=run(tmp_path / f"{size}-{decay}", size, decay), name="mlp")
        for size in (128, 16)
        for decay in (0, 0.005)
    ]
    found = variations(given)
    assert [one.key for one in found] == ["weight_decay", "batch_size"]
    words = panels(draw_grid(given, (), PlotOptions(grid="weight_decay,batch_size")))
    assert words[:4] == ["batch size 16", "batch size 128", "no weight decay", "weight decay 0.005"]
    (tmp_path / "128-0" / "run.json").write_text("{")
    assert variations(given), "a damaged record is no settings"


def test_what_follows_from_other_settings_is_no_variation():
    given = [surface(width=width, layers=layers, parameters=width * layers) for width in (3, 5) for layers in (1, 2, 4)]
    assert [one.key for one in telling(variations(given))] == ["width", "layers"]
    assert panels(draw_grid(given, (), PlotOptions()))[:2] == ["layers 1", "layers 2"]
    by_name = panels(draw_grid(given, (), PlotOptions(grid="parameters")))
    assert by_name[:2] == ["parameters 3", "parameters 5"]


def test_without_known_settings_titles_are_names():
    assert panels(draw_grid([surface(name="a"), surface(name="b")], (), PlotOptions()))[:2] == ["a", "b"]
    assert panels(draw_grid([surface(name="a")] * 2, (), PlotOptions()))[:2] == ["a (1)", "a (2)"]
    titled = draw_grid([surface(name="a"), surface(name="b")], (), PlotOptions(titles=("both",)))
    assert {"a", "b", "both"} <= set(panels(titled))


def test_shape_and_wrong_grids():
    given = [surface(name=f"{k}") for k in range(5)]
    drawn = draw_grid(given, (), PlotOptions(grid="2x3"))
    rows = {round(ax.get_position().y0, 6) for ax in drawn.axes}
    assert len(rows) == 2
    with pytest.raises(ValueError, match="a grid of 2x2 has 4 places, expected 5"):
        draw_grid(given, (), PlotOptions(grid="2x2"))
    with pytest.raises(ValueError, match=r"setting in which the surfaces differ 'depht'.*did you mean 'depth'"):
        draw_grid([surface("resnet20"), surface("resnet56")], (), PlotOptions(grid="depht"))
    with pytest.raises(ValueError, match=f"1 to {MAX_PANELS} panels"):
        draw_grid(given * 10, (), PlotOptions())
    with pytest.raises(ValueError, match="one metric"):
        draw_grid(given, (), PlotOptions(metrics=("a", "b")))


def volume(seeds=()):
    x, y, z = np.linspace(-1, 1, 5), np.linspace(-1, 1, 4), np.arange(3.0) if seeds else np.linspace(-1, 1, 9)
    loss = 1 + x[None, None, :] ** 2 + y[None, :, None] ** 2 + z[:, None, None]
    metadata = SurfaceMetadata(settings=SweepSettings(seeds=seeds)) if seeds else SurfaceMetadata()
    return Surface((x, y, z), {"train_loss": loss + 1}, np.full(loss.shape, DONE, np.uint8), metadata, "v")


def test_seeds_have_a_panel_each(legible):
    given = volume(seeds=(3, 5, 8))
    drawn = draw_grid(seeds_of(given), (), PlotOptions(style="heat"))
    assert panels(drawn)[:3] == ["seed 3", "seed 5", "seed 8"]
    for k, panel in enumerate(drawn.panels):
        np.testing.assert_array_equal(panel.heat.get_array(), given["train_loss"][k])
    assert len(plot(given, options=PlotOptions(grid="auto")).axes) == 4
    assert len(plot(given).axes) == 2, "median and spread without a grid"


@pytest.mark.parametrize("size", ["page", "column"])
def test_slices_of_a_volume(legible, size):
    given = volume()
    for surface_, k in zip(slices_of(given), (0, 2, 4, 6, 8), strict=True):
        np.testing.assert_array_equal(surface_["train_loss"], given["train_loss"][k])
    figure = plot(given, options=PlotOptions(size=size))
    shown = legible(figure)
    assert {"$z$ = \N{MINUS SIGN}1", "$z$ = \N{MINUS SIGN}0.5", "$z$ = 0", "$z$ = 0.5", "$z$ = 1"} <= set(shown)
    assert len({round(ax.get_position().y0, 6) for ax in figure.axes[:5]}) == (1 if size == "page" else 3)


def test_difference_needs_two_maps():
    with pytest.raises(ValueError, match=r"two metrics of one surface.*1 surface and 1 metric"):
        plot(surface(), options=PlotOptions(difference=True))
    line = Surface((np.arange(3.0),), {"train_loss": np.arange(3.0)}, np.full(3, DONE, np.uint8))
    with pytest.raises(ValueError, match="a grid needs surfaces of two axes, got curves"):
        plot(line, options=PlotOptions(grid="auto"))

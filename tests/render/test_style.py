"""Style: global settings stay as they are, figures carry their style, and files are reproducible."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from landscape.render import saving, style

SCRIPT = """
import sys
import numpy as np
from landscape.geometry.trajectory import Trajectory
from landscape.render.plots.contour import plot_contour
from landscape.render.saving import save
from landscape.surface.surface import Surface
x, y = np.linspace(-1, 1.5, 21), np.linspace(-0.5, 1, 13)
loss = 0.05 * 10 ** (3 * (x**2 + y[:, None] ** 2))
loss[0, :3] = np.nan
surface = Surface((x, y), {"train_loss": loss}, np.ones(loss.shape, np.uint8))
n = np.ones(4)
path = Trajectory("SGD", np.arange(4), np.arange(4.0), np.linspace([0.9, 0.6], [0, 0], 4), n, n, n, n, n)
figure = plot_contour(surface, trajectories=[path]).axes.figure
for name in sys.argv[1:]:
    save(figure, name, 100)
"""


def drawn(size: str = "column"):
    figure = style.new_figure(size)
    with figure.style():
        ax = figure.add_subplot()
        ax.plot([1, 2], [0.003, 4], label="a")
        ax.set_yscale("log")
        ax.set_xlabel("$10^{-3}$ and text")
        ax.legend()
    return figure


def pixels(figure) -> bytes:
    figure.set_layout_engine("none")
    figure.canvas.draw()
    return bytes(figure.canvas.buffer_rgba())


def run(code: str, *arguments: str, seed: int = 0) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def test_saving_is_reproducible(tmp_path: Path) -> None:
    names = [[str(tmp_path / f"{k}{suffix}") for suffix in saving.FIGURE_SUFFIXES] for k in range(3)]
    run(SCRIPT, *names[0], *names[1], seed=1)
    run(SCRIPT, *names[2], seed=2)
    for first, again, other in zip(*names, strict=True):
        content = Path(first).read_bytes()
        assert content == Path(again).read_bytes(), first
        assert content == Path(other).read_bytes(), first
    assert not list(tmp_path.glob(".*"))


def test_lazy_imports() -> None:
    base = "import sys, landscape, landscape.render.style, landscape.render.scale, landscape.render.ticks\n"
    assert run(base + "print('matplotlib' in sys.modules)").strip() == "False"
    everything = "import landscape.render.plots.contour, landscape.render.plots.curve, landscape.render.plots.panels\n"
    code = SCRIPT.replace("sys.argv[1:]", "[]") + "print('matplotlib.pyplot' in sys.modules)"
    assert run(everything + code).strip() == "False"


def test_truetype_fonts(tmp_path: Path) -> None:
    content = saving.save(drawn(), tmp_path / "figure.pdf").read_bytes()
    assert b"/Type3" not in content
    assert b"/CIDFontType2" in content
    assert b"CreationDate" not in content
    with matplotlib.rc_context({"pdf.fonttype": 3}):
        from matplotlib.figure import Figure

        plain = Figure()
        plain.add_subplot().set_title("text")
        plain.savefig(tmp_path / "plain.pdf")
    assert b"/Type3" in (tmp_path / "plain.pdf").read_bytes()


def test_no_dates(tmp_path: Path) -> None:
    assert b"<dc:date>" not in saving.save(drawn(), tmp_path / "figure.svg").read_bytes()
    content = saving.save(drawn(), tmp_path / "figure.png").read_bytes()
    assert b"tIME" not in content
    assert b"Matplotlib" not in content


def test_rc_params_are_restored(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    saving.save(drawn(), tmp_path / "figure.png", 50)
    assert dict(matplotlib.rcParams) == before


def test_figure_carries_style() -> None:
    figure = drawn("page")
    figure.draw_without_rendering()
    size = style.SIZES["page"]
    ax = figure.axes[0]
    assert figure.get_size_inches() == pytest.approx((size.width, size.height))
    assert {label.get_fontsize() for label in ax.get_xticklabels()} == {size.small}
    assert ax.xaxis.label.get_fontsize() == size.font
    assert ax.get_xticklabels()[0].get_fontfamily() == ["serif", "DejaVu Sans"]  # for letters that the first lacks
    # The fonts of mathematics are looked up when it is drawn.
    outside = pixels(figure)
    with figure.style():
        assert pixels(figure) == outside
    with matplotlib.rc_context({"mathtext.fontset": "cm"}):
        assert pixels(figure) == outside


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.pdf, \.png, \.svg"):
        saving.save(drawn(), tmp_path / "figure.jpg")
    with pytest.raises(ValueError, match="column, page, icml"):
        style.new_figure("poster")
    with pytest.raises(ValueError, match="loss, accuracy"):
        style.colour_map("rainbows")
    assert not list(tmp_path.iterdir())


def test_failed_save_keeps_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure.pdf"
    path.write_bytes(b"old")
    figure = drawn()

    def full(name, **_):
        Path(name).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(OSError, match="No space"):
        saving.save(figure, path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.pdf"]
    monkeypatch.undo()
    assert saving.save(figure, path) == path
    assert path.read_bytes().startswith(b"%PDF")


def test_colour_maps_increase_in_lightness() -> None:
    for purpose in ("loss", "accuracy", "spread"):
        colours = style.colour_map(purpose)(np.linspace(0, 1, 64))[:, :3]
        lightness = colours @ (0.2126, 0.7152, 0.0722)
        assert (np.diff(lightness) > 0).all(), purpose
    assert style.colour_map_name("test_acc") == "accuracy"
    assert style.colour_map_name("train_loss_stderr") == "spread"
    assert style.colour_map_name("train_loss") == "loss"


def test_path_colours_and_markers() -> None:
    pairs = list(zip(style.TRAJECTORY_COLOURS, style.TRAJECTORY_MARKERS, strict=True))
    assert len(set(pairs)) == len(pairs)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour, _ in pairs)


def test_optimizers_have_colours_of_their_own() -> None:
    assert style.path_indices(["sgd", "adam"]) == [0, 1]
    assert style.path_indices(["Adam, lr 0.01", "SGD, lr 0.1"]) == [1, 0]
    assert style.path_indices(["adam-lr-0.001", "nesterov-lr-0.05"]) == [1, 3]
    assert style.path_indices(["one", "two", "three"]) == [0, 1, 2]
    both = style.path_indices(["adam, a", "adam, b", "sgd"])
    assert both[0] == 1
    assert len(set(both)) == 3
    assert style.path_indices(["adamantine"]) == [0], "no optimizer, though it begins like one"
    assert len(style.path_indices([f"run {k}" for k in range(40)])) == 40


# Without red cones (protanopia), green cones (deuteranopia), and with all: linear sRGB to linear sRGB (Machado,
# Oliveira and Fernandes, A Physiologically-Based Model for Simulation of Color Vision Deficiency, IEEE TVCG 15, 2009).
VISION = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def lab(linear: np.ndarray) -> np.ndarray:
    """Return CIELAB (D65) of linear sRGB."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("colours", [style.TRAJECTORY_COLOURS, style.CURVE_COLOURS])
def test_colours_differ_for_all_readers(colours, vision):
    rgb = np.array([matplotlib.colors.to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = lab(np.clip(linear @ VISION[vision].T, 0, 1))
    away = np.linalg.norm(seen[:, None] - seen[None], axis=2)[np.triu_indices(len(seen), 1)]
    assert away.min() > 15, "2 is just noticeable side by side"


@pytest.mark.parametrize("name", ["loss", "accuracy", "spread"])
def test_maps_grow_lighter_in_grey_print(name):
    light = style.luminance(style.colour_map(name)(np.linspace(0, 1, 64))[:, :3])
    assert (np.diff(light) > 0).all()

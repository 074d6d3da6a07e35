"""Draw the reference images in tests/render/references, and measure the visible difference between two images.

The surfaces are real ones, stored with reduced precision in surfaces.npz beside the images. They come from the
tutorial's networks; `--data build/gallery` reads them again from the output of scripts/gallery.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import gaussian_filter

from landscape.geometry.trajectory import Trajectory
from landscape.render import saving, style
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.curve import plot_curve
from landscape.render.plots.options import ContourOptions, ContourStyle
from landscape.render.plots.panels import plot_panel
from landscape.render.plots.seeds import seed_spread
from landscape.surface.surface import DONE, Surface

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "render" / "references"
MADE_WITH = FOLDER / "made-with.txt"
MAX_BYTES = 60_000

BLUR = (1.2, 1.2, 0.0), (2.5, 2.5, 0.0)
"""Widths in pixels of the Gaussian blur of lightness and of colour, for which the eye has a lower resolution."""
TOLERANCE = 14.0
"""Distance in CIELAB that counts as a difference; tests/render/test_references.py has examples on both sides."""


def surfaces() -> dict[str, Surface]:
    """Return the stored surfaces by name."""
    with np.load(FOLDER / "surfaces.npz") as stored:
        found: dict[str, dict[str, np.ndarray]] = {}
        for key, array in stored.items():
            name, _, what = key.partition("/")
            found.setdefault(name, {})[what] = array.astype(np.float64)
    made = {}
    for name, arrays in found.items():
        if name.startswith("path "):
            continue
        axes = tuple(arrays.pop(axis) for axis in "xy" if axis in arrays)
        made[name] = Surface(axes, arrays, np.full(next(iter(arrays.values())).shape, DONE, np.uint8), name=name)
    return made


def paths() -> list[Trajectory]:
    """Return the stored paths, all on the surface ``optimizers``."""
    with np.load(FOLDER / "surfaces.npz") as stored:
        names = sorted({key.partition("/")[0] for key in stored if key.startswith("path ")})
        found = []
        for name in names:
            keys = [key for key in stored if key.startswith(f"{name}/")]
            arrays = {key.rpartition("/")[2]: stored[key].astype(np.float64) for key in keys}
            found.append(Trajectory(name=name[7:], **{**arrays, "step": arrays["step"].astype(np.int64)}))
    return found


def holed(surface: Surface) -> Surface:
    """Return the surface with a few points that are not finite, which figures shade."""
    loss = surface.values["train_loss"].copy()
    loss[-3:, :4], loss[0, -1] = np.nan, np.inf
    return replace(surface, values={**surface.values, "train_loss": loss})


def _spread() -> Figure:
    members = [surface for name, surface in surfaces().items() if name.startswith("seed ")]
    spread = seed_spread(members, name="5 seeds")
    return plot_contour(spread, metric="train_loss_std", options=ContourOptions(style="filled")).figure


def _scene(*names: str, trajectories: bool = False) -> Figure:
    from landscape.render.scenes.options import SceneOptions
    from landscape.render.scenes.scene import render_scene

    drawn = [surfaces()[name] for name in names]
    if len(drawn) == 1:
        return render_scene(drawn, paths() if trajectories else (), SceneOptions(size=(440, 350), style="column"))
    return render_scene(drawn, options=SceneOptions(size=(520, 240)))


def _contour(surface: Surface, trajectories: Sequence[Trajectory] = (), style: ContourStyle = "both") -> Figure:
    return plot_contour(surface, trajectories, options=ContourOptions(style=style)).figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "contour": lambda: _contour(surfaces()["with shortcuts"], style="lines"),
    "contour-path": lambda: _contour(surfaces()["optimizers"], paths()[::2]),
    "heat": lambda: _contour(holed(surfaces()["without shortcuts"]), style="heat"),
    "curve": lambda: plot_curve(surfaces()["line"], second="train_acc").figure,
    "panel": lambda: plot_panel([surfaces()["with shortcuts"], surfaces()["without shortcuts"]]).figure,
    "spread": _spread,
    "scene-path": lambda: _scene("optimizers", trajectories=True),
    "scene-pair": lambda: _scene("with shortcuts", "without shortcuts"),
}
"""Reference figures by name; names of figures that need OpenGL begin with ``scene``."""


@contextmanager
def unhinted() -> Iterator[None]:
    """Turn off the hinting of text, which differs between versions of FreeType."""
    hinted = style.rc_params
    style.rc_params = lambda size="column": {**hinted(size), "text.hinting": "none"}
    try:
        yield
    finally:
        style.rc_params = hinted


def pixels(draw: Callable[[], Figure], change: Callable[[Figure], object] = lambda figure: None) -> np.ndarray:
    """Return a figure as saved, ``(height, width, 3)`` uint8; ``change`` may modify it before."""
    with TemporaryDirectory() as folder, unhinted():
        figure = draw()
        change(figure)
        return read(saving.save(figure, Path(folder) / "figure.png", figure.dpi))


def read(path: Path | io.BytesIO) -> np.ndarray:
    """Read an image, ``(height, width, 3)`` uint8."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def encoded(picture: np.ndarray) -> bytes:
    """Return an image as lossless WebP."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", lossless=True, quality=100, method=6)
    return buffer.getvalue()


def distance(picture: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest visible difference between two images, in CIELAB units; infinite for different sizes.

    Both are blurred, so that antialiasing does not count, and compared with neighbours of up to one pixel, so that the
    alignment of letters with the pixel grid does not count. What remains is what a reader sees: another colour, a
    missing line, a text that differs or is elsewhere. (A distance of 2.3 is just noticeable between large areas, and
    black and white differ by 100.)
    """
    if picture.shape != reference.shape:
        return float("inf")
    one, two = _blurred_lab(picture), _blurred_lab(reference)
    return max(float(_distance_to_nearest(one, two).max()), float(_distance_to_nearest(two, one).max()))


def _blurred_lab(picture: np.ndarray) -> np.ndarray:
    lab = _lab(picture)
    parts = zip((lab[..., :1], lab[..., 1:]), BLUR, strict=True)
    return np.concatenate([gaussian_filter(part, width, mode="nearest") for part, width in parts], axis=-1)


def _distance_to_nearest(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return for each pixel of ``one`` the distance to the most similar value within a pixel of ``two``."""
    height, width = one.shape[:2]
    around = np.pad(two, ((2, 2), (2, 2), (0, 0)), mode="edge")
    nearest = np.full((height, width), np.inf)
    for down in range(-2, 3):
        rows = (around[2 + down // 2 :][:height] + around[2 + (down + 1) // 2 :][:height]) / 2
        for right in range(-2, 3):
            other = (rows[:, 2 + right // 2 :][:, :width] + rows[:, 2 + (right + 1) // 2 :][:, :width]) / 2
            apart = one - other
            np.minimum(nearest, np.einsum("ijk,ijk->ij", apart, apart), out=nearest)
    return np.sqrt(nearest)


def _lab(picture: np.ndarray) -> np.ndarray:
    """Convert sRGB bytes to CIELAB (D65), by IEC 61966-2-1 and CIE 15."""
    srgb = picture / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = linear @ to_xyz.T / to_xyz.sum(1)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def store_surfaces(work: Path) -> None:
    """Store the surfaces of the tutorial, and one over five seeds, made by this command:

    landscape surface optimizers/runs/adam-lr-0.001 --seeds 0:5 --x -1:1.5:13 --y -0.5:1:9 --samples 500 --out seeds.h5
    """
    from landscape.surface.reading import read_surface
    from landscape.surface.trajectory_files import read_trajectories

    files = {"with shortcuts": "with.h5", "without shortcuts": "without.h5", "line": "line.h5"}
    found = {name: read_surface(work / file) for name, file in files.items()}
    found["optimizers"] = read_surface(work / "optimizers" / "surface.h5")
    seeds = read_surface(work / "seeds.h5")
    found |= {f"seed {seed}": seeds.for_seed(seed) for seed in seeds.seeds}
    arrays = {}
    for name, surface in found.items():
        arrays |= {f"{name}/{axis}": values for axis, values in zip("xy", surface.coordinates, strict=False)}
        wanted = ("train_loss", "train_acc", "train_loss_stderr") if name == "line" else ("train_loss",)
        arrays |= {f"{name}/{metric}": surface.values[metric] for metric in wanted}
    for k, path in enumerate(read_trajectories(work / "optimizers" / "paths.h5")):
        for field in fields(path):
            if isinstance(getattr(path, field.name), np.ndarray):
                arrays[f"path {k} {path.name}/{field.name}"] = getattr(path, field.name)
    np.savez_compressed(FOLDER / "surfaces.npz", **{key: np.float32(array) for key, array in arrays.items()})


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, print differences from the images")
    parser.add_argument("--only", default="", metavar="PREFIX", help="only figures whose names begin with PREFIX")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="read the surfaces from FOLDER first")
    options = parser.parse_args(argv)
    if options.data:
        store_surfaces(options.data)
    if not options.check:
        MADE_WITH.write_text(f"matplotlib {matplotlib.__version__}\nvtk {version('vtk')}\n")
    worst = 0.0
    for name, draw in FIGURES.items():
        if not name.startswith(options.only):
            continue
        picture, file = pixels(draw), FOLDER / f"{name}.webp"
        away = distance(picture, read(file)) if file.exists() else float("inf")
        worst = max(worst, away)
        if not options.check:
            data = encoded(picture)
            if len(data) > MAX_BYTES:
                sys.exit(f"{name}: expected at most {MAX_BYTES} bytes, got {len(data)}; draw it smaller")
            file.write_bytes(data)
        print(f"{name:14} difference {away:6.1f}", flush=True)
    return int(options.check and worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())

"""Draw one scene from all named views, at three sizes on paper and on four backgrounds, as one picture.

    python scripts/scene_views.py demo-out/surfaces/resnet20-paths.h5 demo-out/trajectories/resnet20-paths.h5

The files are those that `landscape demo` writes. The picture is docs/images/scene-views.webp, shown in docs/scenes.md,
unless --out says otherwise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from landscape import SceneOptions, render_scene
from landscape.render.scenes.camera import VIEWS
from landscape.render.style import SIZES

WIDTH, DPI = 1400, 140
SIZES_SHOWN = ("column", "neurips", "slide")
BACKGROUNDS = ("white", "#203040", "black", "transparent")
CHECKER = 12
"""Pixels of a square behind a transparent picture."""


def pixels_of(surface, paths, **options):
    """Return a scene as an RGBA array."""
    figure = render_scene(surface, paths, SceneOptions(**options))
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


def on_checker(image):
    """Return a transparent picture on grey squares."""
    rows, columns = np.indices(image.shape[:2]) // CHECKER
    ground = np.where((rows + columns) % 2, 0.82, 1.0)[..., None]
    alpha = image[..., 3:] / 255
    return image[..., :3] / 255 * alpha + ground * (1 - alpha)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("surface", type=Path)
    parser.add_argument("trajectory", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images/scene-views.webp"))
    options = parser.parse_args()
    surface, paths = options.surface, options.trajectory

    def scene(**more):
        return pixels_of(surface, paths, **{"axes": False, "size": (700, 540), **more})

    views = [(f"--view {name}" if name != "auto" else "default", scene(view=name)) for name in VIEWS]
    grounds = []
    for background in BACKGROUNDS:
        clear = background == "transparent"
        image = scene(transparent=True) if clear else scene(background=background)
        label = "--transparent" if clear else f"--background '{background}'" if "#" in background else None
        grounds.append((label or f"--background {background}", on_checker(image) if clear else image))
    sizes = [(f"--size {name}", pixels_of(surface, paths, size=name, dpi=DPI), SIZES[name].width)
             for name in SIZES_SHOWN]  # fmt: skip

    inch = WIDTH / DPI  # width of the picture
    tile, text = inch / 4, 0.24
    low = tile * 540 / 700
    across = sum(width for *_, width in sizes) / (inch - 0.2)  # inches of paper in an inch of the picture
    tall = max(image.shape[0] / DPI for _, image, _ in sizes) / across
    height = 3 * (low + text) + tall + text + 0.1
    figure = plt.figure(figsize=(inch, height), dpi=DPI)

    def place(label, image, left, top, width, rise):
        ax = figure.add_axes((left / inch, 1 - (top + rise) / height, width / inch, rise / height))
        ax.imshow(image, interpolation="lanczos", aspect="auto")
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_color("0.8")
        figure.text((left + width / 2) / inch, 1 - (top + rise + 0.8 * text) / height, label, ha="center", fontsize=9)

    with plt.rc_context({"font.family": "monospace"}):
        for k, (label, image) in enumerate(views):
            place(label, image, k % 4 * tile + 0.03, k // 4 * (low + text) + 0.03, tile - 0.06, low)
        left, top = 0.03, 2 * (low + text) + 0.08
        for label, image, width in sizes:
            rise = image.shape[0] / DPI / across
            place(label, image, left, top + tall - rise, width / across, rise)
            left += width / across + 0.07
        for k, (label, image) in enumerate(grounds):
            place(label, image, k * tile + 0.03, top + tall + text + 0.03, tile - 0.06, low)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    for quality in range(90, 40, -5):
        picture.save(options.out, "WEBP", quality=quality, method=6)
        if options.out.stat().st_size <= 150_000:
            break
    print(f"{options.out}: {picture.width} x {picture.height} pixels, {options.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

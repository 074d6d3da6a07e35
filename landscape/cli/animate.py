"""``landscape animate``: surfaces in three dimensions, turning, changing through training, or with growing paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.cli.figure_options import scene_options, surfaces_argument, trajectory_option
from landscape.cli.options import PATH, overwrite_option, require_new
from landscape.cli.terminal import echo

MOTION = ("orbit", "descent", "turn", "seconds", "fps", "hold", "interpolate")


@click.command()
@surfaces_argument
@trajectory_option
@click.option(
    "--out",
    type=PATH,
    default=Path("film.mp4"),
    show_default=True,
    help="Output: a .mp4, a .gif, or a directory of .png frames (a name without a suffix).",
)
@click.option("--orbit", is_flag=True, default=None, help="Turn around the scene.  [default: if nothing else moves]")
@click.option("--descent", is_flag=True, default=None, help="Grow the paths step by step.  [default: if there are any]")
@click.option(
    "--turn", type=float, metavar="DEGREES",
    help="Angle of the turn, counter-clockwise.  [default: 360; 60 with a descent]",
)  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(0.1), metavar="S", default=8.0, show_default=True, help="Duration in seconds."
)
@click.option(
    "--fps", type=click.FloatRange(0.1, 240), metavar="N", help="Frames per second.  [default: 25; 12.5 for a GIF]"
)
@click.option(
    "--hold", type=click.FloatRange(0), metavar="S",
    help="Seconds to hold the last frame of a descent or of training.  [default: 1.5]",
)  # fmt: skip
@click.option(
    "--interpolate/--no-interpolate", default=True,
    help="Interpolate a surface through training between its checkpoints, or show each until the next.  "
    "[default: interpolate]",
)  # fmt: skip
@scene_options("960x720")
@click.option(
    "--supersampling", type=click.FloatRange(1, 4), metavar="N",
    help="Samples per pixel along each axis; fewer are faster.  [default: 2]",
)  # fmt: skip
@overwrite_option
def command(
    files: tuple[Path, ...],
    paths: tuple[Path, ...],
    out: Path,
    seed: int | None,
    at: int | None,
    z: float | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Animate SURFACEs in three dimensions: through training, with paths that grow step by step, or a turn.

    A SURFACE computed with --checkpoints changes through training, on one scale. It is interpolated between checkpoints
    for the eye; the note says so. --orbit turns the camera meanwhile, and --at turns around one checkpoint.

    With --trajectory, the paths grow together, step by step, and the animation ends with the complete figure. Without
    it, or with --orbit, the camera turns around the scene once. --orbit --descent does both. An .mp4 needs ffmpeg (or
    `pip install imageio-ffmpeg`); a .gif and a directory of frames need nothing.

    \b
    Examples:
      landscape animate surface.h5 --out turn.mp4
      landscape animate surface.h5 --trajectory path.h5 --out descent.mp4
      landscape animate surface.h5 --trajectory path.h5 \\
          --orbit --descent --seconds 12 --out both.mp4
      landscape animate surface.h5 --trajectory path.h5 \\
          --size 640x400 --seconds 5 --out small.gif
      landscape animate through.h5 --orbit --turn 40 --out training.mp4
      landscape animate surface.h5 --fps 30 --size 3840x2160 --out frames
    """
    from landscape.render.video import check_video

    check_video(out, options["fps"] or 1.0)
    if not (out.is_dir() and not any(out.iterdir())):  # an empty directory can be filled
        require_new(out, overwrite)
    from landscape.cli.progress import Bar
    from landscape.render.scenes.options import Motion, SceneOptions
    from landscape.workflows.figures import animate_scene

    motion = Motion(**{name: options.pop(name) for name in MOTION})
    with Bar("drawing", "frame", every=15.0) as bar:
        written = animate_scene(
            files, paths, out, SceneOptions(**options), motion, seed=seed, at=at, z=z,
            progress=lambda steps: bar.update(steps.done, steps.total),
        )  # fmt: skip
    echo(f"{written}: {motion.seconds:g} s, {_size(written)}, from {', '.join(map(str, files))}", err=True)


def _size(written: Path) -> str:
    if written.is_dir():
        return f"{len(list(written.glob('frame-*.png')))} frames"
    return f"{written.stat().st_size / 1e6:.2g} MB"

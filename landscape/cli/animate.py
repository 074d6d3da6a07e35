"""``landscape animate``: surfaces in three dimensions, turning, or with the paths running down them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.cli.figure_options import scene_options, surfaces_argument, trajectory_option
from landscape.cli.options import PATH, overwrite_option, require_new


@click.command()
@surfaces_argument
@trajectory_option
@click.option(
    "--out",
    type=PATH,
    default=Path("film.mp4"),
    show_default=True,
    help="A .mp4, a .gif, or a name without an ending: a folder of PNG.",
)
@click.option("--orbit", is_flag=True, default=None, help="Turn around the scene.  [default: where there are no paths]")
@click.option(
    "--descent",
    is_flag=True,
    default=None,
    help="Let the paths run down, step by step.  [default: where there are any]",
)
@click.option("--turn", type=float, help="Degrees of the turn, counter-clockwise.  [default: 360; 60 with a descent]")
@click.option("--seconds", type=click.FloatRange(0.1), default=8.0, show_default=True, help="Length of the film.")
@click.option("--fps", type=click.FloatRange(0.1, 240), help="Pictures a second.  [default: 25; 12.5 for a GIF]")
@click.option(
    "--hold", type=click.FloatRange(0), help="Seconds of it that a descent's last picture stays.  [default: 1.5]"
)
@scene_options("960x720")
@click.option(
    "--supersampling", type=click.FloatRange(1, 4), help="Samples to a pixel each way: fewer are quicker.  [default: 2]"
)
@overwrite_option
def command(files: tuple[Path, ...], paths: tuple[Path, ...], out: Path, overwrite: bool, **options: Any) -> None:
    """Film SURFACEs in three dimensions: a turn around them, or the paths as they run down.

    With --trajectory the paths grow over their steps, all on one axis; the film ends with the whole picture. Without,
    or with --orbit, the camera goes once around. --orbit --descent does both at once. An MP4 needs ffmpeg (or
    `pip install imageio-ffmpeg`); a GIF and a folder of pictures need nothing.

    \b
    landscape animate surface.h5 --out turn.mp4
    landscape animate surface.h5 --trajectory path.h5 --out descent.mp4
    landscape animate surface.h5 --trajectory path.h5 --orbit --descent --seconds 12 --out both.mp4
    landscape animate surface.h5 --trajectory path.h5 --size 640x400 --seconds 5 --out small.gif
    landscape animate surface.h5 --fps 30 --size 3840x2160 --out frames
    """
    from landscape.render.video import check_video

    check_video(out, options["fps"] or 1.0)
    _require_new(out, overwrite)
    from landscape.workflows.inputs import load_surfaces, load_trajectories

    surfaces = load_surfaces(files, seed=options.pop("seed"), z=options.pop("z"))
    trajectories = load_trajectories(paths, len(surfaces))
    from landscape.cli.progress import Bar
    from landscape.render.scenes.animation import Motion, animate_scene
    from landscape.render.scenes.options import SceneOptions

    motion = Motion(**{name: options.pop(name) for name in ("orbit", "descent", "turn", "seconds", "fps", "hold")})
    out.parent.mkdir(parents=True, exist_ok=True)
    with Bar("drawing", "frame", every=15.0) as bar:
        written = animate_scene(surfaces, trajectories, out, SceneOptions(**options), motion, progress=bar.update)
    click.echo(f"{written}: {motion.seconds:g} s, {_size(written)}, from {', '.join(map(str, files))}", err=True)


def _require_new(out: Path, overwrite: bool) -> None:
    """An empty folder is as good as none."""
    if not (out.is_dir() and not any(out.iterdir())):
        require_new(out, overwrite)


def _size(written: Path) -> str:
    if written.is_dir():
        return f"{len(list(written.glob('frame-*.png')))} pictures"
    return f"{written.stat().st_size / 1e6:.2g} MB"

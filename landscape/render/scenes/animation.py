"""A scene in motion: the camera around it, its paths as they come down step by step, or both at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from matplotlib.artist import Artist

from landscape.render.scenes import overlay
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.composition import Composition, compose, own_paths
from landscape.render.scenes.frame import Marks
from landscape.render.scenes.framing import camera_of, cameras_of, fades
from landscape.render.scenes.hud import moment
from landscape.render.scenes.offscreen import Screen
from landscape.render.scenes.panel import Paths
from landscape.render.scenes.scene import assembled, draw_around, draw_axes, occluded
from landscape.render.scenes.vtk_scene import VTKScene
from landscape.render.video import check_video, write_video
from landscape.surface.surface import Surface

FPS, GIF_FPS = 25.0, 12.5
SIZE = (960, 720)
"""Pixels of a film of one surface, unless told otherwise."""
SUPERSAMPLING = 2.0
"""Samples to a pixel along each axis: a moving picture needs fewer than a still."""
_SLOWLY, _HOLD = 60.0, 1.5


@dataclass(frozen=True)
class Frame:
    """One picture of a film.

    Attributes:
        azimuth: from where, in degrees; None where the camera stays where a still's is.
        step: of the runs; None where their paths are shown whole.
        times: how often it is shown.
    """

    azimuth: float | None
    step: float | None
    times: int = 1


def frames_of(
    azimuth: float,
    steps: tuple[float, float] | None,
    *,
    turn: float | None,
    seconds: float,
    fps: float,
    hold: float,
) -> list[Frame]:
    """What is shown when.

    Alone, a turn goes on at one speed, so that a whole one closes: the frame after the last would be the first. With
    ``steps`` the paths run from the first to the last at one speed, the camera turns with them, gently to begin and to
    end with, and comes to rest at ``azimuth``; then the whole picture stays for ``hold`` seconds.

    Args:
        azimuth: of the view asked for, in degrees.
        steps: first and last of all paths, None to show paths whole.
        turn: degrees the camera turns, None for a camera that stays.
        seconds: length of the film.
        fps: frames a second.
        hold: seconds of it at the end of a descent.

    Raises:
        ValueError: neither turn nor steps, or too short a time.
    """
    if turn is None and steps is None:
        raise ValueError("nothing moves: an orbit or a descent expected")
    if not 0 < seconds < float("inf") or not 0 <= hold < float("inf"):
        raise ValueError(f"seconds above 0 and a hold of at least 0 expected, got {seconds:g} and {hold:g}")
    count = round(seconds * fps)
    if steps is None:
        if count < 2:
            raise ValueError(f"{seconds:g} s at {fps:g} pictures a second are {count} of them: at least two expected")
        return [Frame(azimuth + turn * k / count, None) for k in range(count)]
    rest = max(1, round(hold * fps))
    moving = count - rest
    if moving < 1:
        raise ValueError(
            f"{seconds:g} s with {hold:g} s of rest at the end leave no time for the descent: ask for more seconds"
        )
    u = np.arange(moving + 1) / moving
    eased = u * u * (3 - 2 * u)
    return [
        Frame(
            None if turn is None else azimuth + turn * (float(eased[k]) - 1),
            steps[0] + (steps[1] - steps[0]) * float(u[k]),
            times=rest if k == moving else 1,
        )
        for k in range(moving + 1)
    ]


def animate_scene(
    surfaces: Surface | Sequence[Surface],
    trajectories: Paths = (),
    path: str | os.PathLike[str] = "film.mp4",
    *,
    orbit: bool | None = None,
    descent: bool | None = None,
    turn: float | None = None,
    seconds: float = 8.0,
    fps: float | None = None,
    hold: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    **look: Any,
) -> Path:
    """Film a scene: a turn around it, the descent of its paths step by step, or both at once.

    All frames have one layout and one distance of the camera, the smallest that keeps the whole scene inside
    the picture all the time. A descent ends with the whole picture, which stays for a while.

    Args:
        surfaces: of two axes, side by side.
        trajectories: paths for every surface, or one sequence of paths for each; on one axis of steps.
        path: a ``.mp4`` (by ffmpeg), a ``.gif``, or a name without an ending: a folder filled with ``frame-00000.png``
            and so on.
        orbit: turn around the scene; by default only where there are no paths, or with ``turn``.
        descent: let the paths run; by default where there are any and no orbit is asked for.
        turn: degrees of the turn, counter-clockwise from above: 360, and 60 together with a descent. It begins at
            ``view``, and together with a descent it ends there.
        seconds: length of the film.
        fps: frames a second; 25, and 12.5 for a GIF.
        hold: seconds of it that the last picture of a descent stays; 1.5, or a quarter of a shorter film.
        progress: called with the numbers of frames drawn and of all frames.
        **look: as of ``render_scene``: metric, scale, clip, size (960 by 720 pixels), dpi, style, view, cmap, levels,
            axis_labels, path_height, background, transparent (a folder of pictures only), supersampling (2).

    Returns:
        The file or the folder.

    Raises:
        ValueError: an argument out of range, nothing that moves, or a descent without paths.
        MissingLibraryError: there is no library to draw with, or no ffmpeg for an MP4.
        LandscapeError: ffmpeg failed.
        OSError: it cannot be written.
    """
    path = Path(path)
    fps = fps if fps is not None else (GIF_FPS if path.suffix.lower() == ".gif" else FPS)
    check_video(path, fps)
    if path.suffix and look.get("transparent"):
        raise ValueError("a film is never transparent; a folder of pictures (a name without an ending) can be")
    panels = 1 if isinstance(surfaces, Surface) else len(surfaces)
    size = SIZE if panels == 1 else (600 * panels + 80, 560)
    look = {"supersampling": SUPERSAMPLING, **{k: v for k, v in look.items() if v is not None}}
    there = bool(np.size(trajectories))
    descent = descent if descent is not None else there and not orbit
    turning = orbit if orbit is not None else turn is not None or not descent
    composition = compose(surfaces, trajectories, film=descent, default_size=size, **look)
    if descent and not own_paths(composition.stages):
        raise ValueError("a descent needs paths: give trajectories, or ask for an orbit")
    angle = (turn if turn is not None else _SLOWLY if descent else 360.0) if turning else None
    rest = min(_HOLD, seconds / 4) if hold is None else hold
    frames = frames_of(
        composition.view[0], _steps(composition) if descent else None, turn=angle, seconds=seconds, fps=fps, hold=rest
    )
    total, done = sum(frame.times for frame in frames), 0
    with write_video(path, fps) as writer:
        for frame, image in zip(frames, pictures(composition, frames), strict=True):
            writer.add(image, frame.times)
            done += frame.times
            if progress is not None:
                progress(done, total)
    return path


def pictures(composition: Composition, frames: Sequence[Frame]) -> Iterator[np.ndarray]:
    """The pictures of a film, ``(height, width, 4)`` uint8 RGBA each; the scene is built once and then changed."""
    cameras, marks = _cameras(composition, frames)
    fixed = frames[0].azimuth is None
    figure, plan = composition.figure, composition.plan
    with _Panels(composition, cameras[0], marks) as panels:
        with figure.style():
            ax = overlay.canvas(figure)
            draw_around(ax, composition, marks)
            readouts = [
                readout.artists(ax, place.left + place.width / 2, plan.readout)
                for readout, place in zip(composition.readouts, plan.panels, strict=False)
            ]
        pixels, axes, seen = None, [], None
        for frame, camera in zip(frames, cameras, strict=True):
            image = panels.picture(camera, frame.step)
            with figure.style():
                if camera is not seen:
                    _remove(axes)
                    axes, seen = draw_axes(ax, composition, camera, marks, () if fixed else fades(camera)), camera
                for readout, texts in zip(composition.readouts, readouts, strict=False):
                    for text, said in zip(texts, readout.texts(frame.step), strict=True):
                        text.set_text(said)
                if pixels is None:
                    pixels = overlay.draw_pixels(ax, image)
                else:
                    pixels.set_data(image)
                figure.canvas.draw()
            yield np.asarray(figure.canvas.buffer_rgba()).copy()


class _Panels:
    """VTK's part of a film: all of it is here, and gone when the context is left, whoever still holds this."""

    def __init__(self, composition: Composition, camera: Camera, marks: Marks) -> None:
        self._composition, self._seen, self._shown = composition, camera, False
        self._built = [VTKScene(composition, stage, marks, camera) for stage in composition.stages]
        look = {"supersampling": composition.supersampling, "occlusion": occluded(camera)}
        self._screens: list[Screen] = []
        for _ in self._built:
            self._screens.append(Screen(composition.plan.panel_size, **look))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for screen in self._screens:
            screen.close()
        self._screens.clear()
        self._built.clear()

    def picture(self, camera: Camera, step: float | None) -> np.ndarray:
        """All panels in one image, seen with ``camera``, the paths as far as they are after ``step`` steps."""
        images = []
        for built, screen, stage in zip(self._built, self._screens, self._composition.stages, strict=True):
            if camera is not self._seen:
                built.look(camera)
            if step is not None:
                built.show_paths([moment(path.trajectory, step) for path in stage.paths])
            elif not self._shown:
                built.show_paths()
            images.append(screen.picture(built.renderer))
        self._seen, self._shown = camera, True
        return assembled(self._composition, images)


def _cameras(composition: Composition, frames: Sequence[Frame]) -> tuple[list[Camera], Marks]:
    if frames[0].azimuth is None:
        camera, marks = camera_of(composition)
        return [camera] * len(frames), marks
    return cameras_of(composition, [frame.azimuth for frame in frames])


def _steps(composition: Composition) -> tuple[float, float]:
    """First and last step of all paths."""
    steps = [path.trajectory.step for stage in composition.stages for path in stage.paths]
    if not steps:
        return 0.0, 0.0
    return float(min(s[0] for s in steps)), float(max(s[-1] for s in steps))


def _remove(artists: Sequence[Artist]) -> None:
    for artist in artists:
        artist.remove()

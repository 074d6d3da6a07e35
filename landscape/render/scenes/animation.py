"""Animated scenes: an orbit of the camera, paths that grow step by step, surfaces through training, or all at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from matplotlib.artist import Artist

from landscape._utils.typed import chosen
from landscape.render.scenes import overlay
from landscape.render.scenes.axes import AxisTicks
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.composition import Composition, compose
from landscape.render.scenes.framing import axis_opacities, fit_camera, fit_orbit
from landscape.render.scenes.hud import path_parameter
from landscape.render.scenes.offscreen import OffscreenWindow
from landscape.render.scenes.options import Motion, SceneOptions
from landscape.render.scenes.panel import Trajectories, trajectories_per_panel
from landscape.render.scenes.scene import draw_annotations, draw_axes, join_panels, supports_occlusion
from landscape.render.scenes.volume import compose_volumes
from landscape.render.scenes.vtk_volume import new_scene
from landscape.render.video import check_video, write_video
from landscape.surface.surface import Surface

FPS, GIF_FPS = 25.0, 12.5
SIZE = (960, 720)
"""Default size in pixels of an animation of one surface."""
SUPERSAMPLING = 2.0
"""Default samples per pixel along each axis: animations need fewer than stills."""
_FULL_TURN, _TURN_WITH_DESCENT = 360.0, 60.0
_HOLD = 1.5


@dataclass(frozen=True)
class Frame:
    """One frame of an animation.

    Attributes:
        azimuth: azimuth of the camera in degrees; None if the camera does not move.
        step: step up to which the paths are drawn, and of surfaces through training; None for complete paths.
        repeat: number of times that the frame is written.
    """

    azimuth: float | None
    step: float | None
    repeat: int = 1


def plan_frames(
    azimuth: float,
    steps: tuple[float, float] | None,
    *,
    turn: float | None,
    seconds: float,
    fps: float,
    hold: float,
) -> list[Frame]:
    """Return the frames of an animation.

    An orbit alone has constant speed, so that a full turn is a loop: the frame after the last would be the first. With
    ``steps`` the paths grow from the first to the last at constant speed; the camera starts and stops smoothly, and
    comes to rest at ``azimuth``. The last frame is held for ``hold`` seconds.

    Args:
        azimuth: azimuth of the scene's view in degrees.
        steps: first and last step of all paths; None to show complete paths.
        turn: angle of the orbit in degrees; None if the camera does not move.
        seconds: duration in seconds.
        fps: frames per second.
        hold: seconds at the end during which the last frame of a descent is held.

    Raises:
        ValueError: neither ``turn`` nor ``steps``, or a duration that is too short.
    """
    if turn is None and steps is None:
        raise ValueError("nothing moves: expected an orbit or a descent")
    if not 0 < seconds < float("inf") or not 0 <= hold < float("inf"):
        raise ValueError(f"expected seconds above 0 and a hold of at least 0, got {seconds:g} and {hold:g}")
    count = round(seconds * fps)
    if steps is None:
        if count < 2 or turn is None:
            raise ValueError(f"expected at least two frames, got {count}: {seconds:g} s at {fps:g} frames per second")
        return [Frame(azimuth + turn * k / count, None) for k in range(count)]
    rest = max(1, round(hold * fps))
    moving = count - rest
    if moving < 1:
        raise ValueError(f"{seconds:g} s leave no time for the descent before a hold of {hold:g} s; use more seconds")
    u = np.arange(moving + 1) / moving
    eased = u * u * (3 - 2 * u)
    return [
        Frame(
            None if turn is None else azimuth + turn * (float(eased[k]) - 1),
            steps[0] + (steps[1] - steps[0]) * float(u[k]),
            repeat=rest if k == moving else 1,
        )
        for k in range(moving + 1)
    ]


def animate_scene(
    surfaces: Surface | Sequence[Surface],
    trajectories: Trajectories = (),
    path: str | os.PathLike[str] = "film.mp4",
    options: SceneOptions | None = None,
    motion: Motion | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Animate a scene: the camera orbits it, its paths grow step by step, its surfaces change, or all of these at once.

    All frames share one layout and one camera distance, the smallest that keeps the whole scene inside every frame.
    A descent ends with the complete figure, which is held for a while. Surfaces through training change on one scale,
    each around its own checkpoint, with the paths up to it; from each checkpoint to the next takes equal time.

    Args:
        surfaces: one or several surfaces of two axes, also through training, drawn side by side.
        trajectories: trajectories for every surface, or one sequence of trajectories per surface.
        path: a ``.mp4`` (needs ffmpeg), a ``.gif``, or a name without suffix: a directory of ``frame-00000.png`` and so
            on.
        options: options of the scene; only a directory of frames can be transparent.
        motion: motion, duration and frame rate.
        progress: called with the number of finished frames and the number of all frames.

    Returns:
        The file or directory.

    Raises:
        ValueError: an option out of range, nothing that moves, or a descent without paths.
        MissingLibraryError: VTK finds no OpenGL library, or there is no ffmpeg for an MP4.
        LandscapeError: ffmpeg failed.
        OSError: the file cannot be written.
    """
    path, options, motion = Path(path), chosen("options", options, SceneOptions), chosen("motion", motion, Motion)
    fps = motion.fps if motion.fps is not None else (GIF_FPS if path.suffix.lower() == ".gif" else FPS)
    check_video(path, fps)
    if path.suffix and options.transparent:
        raise ValueError("a video cannot be transparent; write a directory of frames (a name without suffix) instead")
    surfaces = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    groups = trajectories_per_panel(trajectories, len(surfaces))
    has_paths, through = any(groups), any(surface.steps for surface in surfaces)
    volumes = all(surface.is_volume for surface in surfaces)
    descent = motion.descent if motion.descent is not None else has_paths and not motion.orbit and not volumes
    moving = descent or through
    orbit = motion.orbit if motion.orbit is not None else motion.turn is not None or not moving
    if descent and not has_paths:
        raise ValueError("a descent needs paths; give trajectories, or choose an orbit")
    if options.supersampling is None:
        options = replace(options, supersampling=SUPERSAMPLING)
    size = SIZE if len(surfaces) == 1 else (600 * len(surfaces) + 80, 560)
    if volumes:
        if moving:
            raise ValueError("expected an orbit around a volume: its paths are drawn complete, got a descent")
        composition = compose_volumes(surfaces, options, size, trajectories=groups, still=False)
    else:
        composition = compose(
            surfaces, groups, options, animated=moving, still=False, interpolate=motion.interpolate, default_size=size
        )
    turn = motion.turn if motion.turn is not None else _TURN_WITH_DESCENT if moving else _FULL_TURN
    hold = min(_HOLD, motion.seconds / 4) if motion.hold is None else motion.hold
    steps = _steps(composition) if moving else None
    frames = plan_frames(
        composition.view[0], steps, turn=turn if orbit else None, seconds=motion.seconds, fps=fps, hold=hold
    )
    frames = _paced(frames, composition)
    total, done = sum(frame.repeat for frame in frames), 0
    with write_video(path, fps) as writer:
        for frame, image in zip(frames, render_frames(composition, frames), strict=True):
            writer.add(image, frame.repeat)
            done += frame.repeat
            if progress is not None:
                progress(done, total)
    return path


def render_frames(composition: Composition, frames: Sequence[Frame]) -> Iterator[np.ndarray]:
    """Yield the frames of an animation, ``(height, width, 4)`` uint8 RGBA; the scene is built once and updated."""
    cameras, ticks = _cameras(composition, frames)
    # Labels that a surface hides at some moment would come and go.
    fixed = frames[0].azimuth is None and not any(composition.reliefs)
    figure, layout = composition.figure, composition.layout
    with _VTKPanels(composition, cameras[0], ticks) as panels:
        with figure.style():
            ax = overlay.canvas(figure)
            draw_annotations(ax, composition, ticks)
            hud_texts = [
                hud.draw(ax, place.left + place.width / 2, layout.hud_top(place))
                for hud, place in zip(composition.huds, layout.panels, strict=False)
                if layout.hud_rows
            ]
        pixels: overlay.PixelImage | None = None
        axes: list[Artist] = []
        drawn_camera: Camera | None = None
        for frame, camera in zip(frames, cameras, strict=True):
            image = panels.render(camera, frame.step)
            with figure.style():
                if camera is not drawn_camera:
                    for artist in axes:
                        artist.remove()
                    moving = frames[0].azimuth is not None
                    opacities = () if fixed else axis_opacities(camera) if moving else (1.0, 1.0, 1.0)
                    axes, drawn_camera = draw_axes(ax, composition, camera, ticks, opacities), camera
                if frame.step is not None:
                    for hud, texts in zip(composition.huds, hud_texts, strict=True):
                        for text, content in zip(texts, hud.texts(frame.step), strict=True):
                            text.set_text(content)
                if pixels is None:
                    pixels = overlay.draw_pixels(ax, image)
                else:
                    pixels.set_data(image)
                rendered = overlay.rgba_of(figure)
            yield rendered


class _VTKPanels:
    """VTK scenes and windows of all panels; leaving the context releases them, even if references remain."""

    def __init__(self, composition: Composition, camera: Camera, ticks: AxisTicks) -> None:
        self._composition, self._ticks = composition, ticks
        self._camera: Camera | None = camera
        self._paths_shown = False
        self._scenes = [new_scene(composition, panel, ticks, camera) for panel in composition.panels]
        self._panels = list(composition.panels)
        self._windows: list[OffscreenWindow] = []
        for _ in self._scenes:
            window = OffscreenWindow(
                composition.layout.panel_size,
                composition.options.supersampling,
                occlusion=supports_occlusion(camera),
                translucent=composition.bar_scale is not None,
            )
            self._windows.append(window)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for window in self._windows:
            window.close()
        self._windows.clear()
        self._scenes.clear()

    def render(self, camera: Camera, step: float | None) -> np.ndarray:
        """Return all panels in one image, seen from ``camera``, with the surfaces and the paths up to ``step``."""
        images = []
        present = self._composition.at(step)
        for k, (window, panel) in enumerate(zip(self._windows, present.panels, strict=True)):
            changes = bool(present.reliefs) and present.reliefs[k] is not None
            if panel is not self._panels[k]:
                self._scenes[k], self._panels[k] = new_scene(present, panel, self._ticks, camera), panel
                self._scenes[k].show_paths()
            elif camera is not self._camera:
                self._scenes[k].set_camera(camera)
            if step is not None and not changes:
                self._scenes[k].show_paths([path_parameter(path.trajectory, step) for path in panel.paths])
            elif not self._paths_shown:
                self._scenes[k].show_paths()
            images.append(window.render(self._scenes[k].renderer))
        self._camera, self._paths_shown = camera, True
        return join_panels(self._composition, images)


def _cameras(composition: Composition, frames: Sequence[Frame]) -> tuple[list[Camera], AxisTicks]:
    azimuths = [frame.azimuth for frame in frames if frame.azimuth is not None]
    if not azimuths:
        camera, ticks = fit_camera(composition)
        return [camera] * len(frames), ticks
    return fit_orbit(composition, azimuths)


def _paced(frames: Sequence[Frame], composition: Composition) -> list[Frame]:
    """Return frames in which surfaces through training take equal times from each checkpoint to the next.

    Checkpoints are often chosen where much happens, which would be over in an instant at constant speed.
    """
    knots = sorted({float(step) for relief in composition.reliefs if relief is not None for step in relief.steps})
    if len(knots) < 3:
        return list(frames)
    first, last = _steps(composition)
    knots = sorted({first, *knots, last})
    even = np.linspace(first, last, len(knots))
    return [
        frame if frame.step is None else replace(frame, step=float(np.interp(frame.step, even, knots)))
        for frame in frames
    ]


def _steps(composition: Composition) -> tuple[float, float]:
    """Return the first and the last step of all paths, and of surfaces through training."""
    reliefs = composition.reliefs or [None] * len(composition.panels)
    steps = [
        np.asarray(one)
        for panel, relief in zip(composition.panels, reliefs, strict=True)
        for one in ([relief.steps] if relief is not None else [path.trajectory.step for path in panel.paths])
    ]
    return float(min(s[0] for s in steps)), float(max(s[-1] for s in steps))

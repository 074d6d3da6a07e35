"""Options of scenes and animations, and the size of an image in pixels, inches and points."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal, get_args

from landscape._utils.names import several
from landscape.render import style as styles
from landscape.render.height_field import PathHeight
from landscape.render.scale import Scale

DPI = 300.0
"""Default resolution, in dots per inch, of an image whose size is given on paper."""
BAR_SPACE, _MIN_COLUMN = 5.6, 14.0
"""Widths in units of the font size: of the colour bar with its labels, and of the narrowest panel beside another."""
_PANEL_HEIGHT = 0.85
"""Height of a panel beside or above others over its width."""
_INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4}
_SIZE = re.compile(r"\s*([\d.]+)\s*[x×]\s*([\d.]+)\s*(px|in|cm|mm)?\s*", re.IGNORECASE)

Light = Literal["studio", "side", "flat"]
_LEAST_PIXELS = 32  # below, letters of the text have no pixel
LIGHTS: tuple[Light, ...] = get_args(Light)
"""Lights of a scene."""

SizeSpec = str | tuple[int, int] | None
"""Size of an image: (width, height) in pixels, ``"1600x1200"``, ``"5.5x4in"``, ``"14x10cm"``, or a name in
``style.SIZES``; None for the default."""


@dataclass(frozen=True)
class SceneOptions:
    """Appearance of a scene, for :func:`render_scene` and :func:`animate_scene`.

    Attributes:
        metric: metric to draw; by default the first loss.
        scale: ``auto``, ``log``, ``linear``, ``symlog``, or a :class:`~landscape.render.scale.Scale`.
        clip: value above which the surfaces are cut off, with a note on the figure.
        size: size of the image: pixels, a size on paper, or a name in ``style.SIZES``. The default is 1600 by 1200
            pixels for a still and 960 by 720 for an animation, and wider for several surfaces.
        dpi: resolution in dots per inch; 300 by default for a size on paper.
        style: named size that sets the text sizes and, where nothing else does, the width in inches; ``page`` by
            default.
        view: azimuth and elevation in degrees, as numbers or as text, or a name in ``camera.VIEWS``; by default the
            side from which most of the surface is visible.
        colour_map: name of a matplotlib colour map, or of a quantity as in :func:`style.colour_map`; by default that of
            the metric.
        levels: approximate number of contour lines.
        titles: title of each panel; by default the names of several surfaces, and of one that has paths.
        axes: draw axes, walls, colour bar, legend and note; without them the image holds surfaces and paths alone,
            which fill it.
        floor: repeat contours and paths on a floor below the surface, which gets smaller for that; only with axes.
        height: height of the surface over a base of 1 by 1; by default one at which the scene fills its place in the
            figure.
        light: ``studio``, ``side`` (low and hard, for relief), or ``flat`` (none: colours are those of the colour bar).
            From above, surfaces are drawn flat.
        axis_labels: labels of the x and y axes; by default those of the surfaces' directions.
        smooth: interpolate between grid points by monotone cubics, which add no extremum; otherwise bilinearly.
        path_height: ``surface`` to lay paths on the surface, ``loss`` to draw them at the checkpoints' own loss.
        distance: True to draw paths thinner the farther the run was from the plane, and to state the distances.
        background: colour behind the scene.
        transparent: True for a transparent background.
        supersampling: samples per pixel along each axis. The default is 3 for a still (fewer above 1.3 megapixels) and
            2 for an animation.
    """

    metric: str | None = None
    scale: str | Scale = "auto"
    clip: float | None = None
    size: SizeSpec = None
    dpi: float | None = None
    style: str | styles.Size | None = None
    view: str | tuple[float, float] | None = None
    colour_map: str | None = None
    levels: int = 14
    titles: tuple[str, ...] = ()
    axes: bool = True
    floor: bool = False
    height: float | None = None
    light: Light = "studio"
    axis_labels: tuple[str, str] | None = None
    smooth: bool = True
    path_height: PathHeight = "surface"
    distance: bool = True
    background: str = "white"
    transparent: bool = False
    supersampling: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "titles", several(self.titles))
        if self.levels < 1:
            raise ValueError(f"levels: expected 1 or more, got {self.levels}")
        if self.light not in LIGHTS:
            raise ValueError(f"light: expected one of {', '.join(LIGHTS)}, got {self.light!r}")
        if self.height is not None and not 0.01 <= self.height <= 10:
            raise ValueError(f"height: expected 0.01 to 10 times the width of the base, got {self.height:g}")


@dataclass(frozen=True)
class Motion:
    """Motion of an animated scene.

    Attributes:
        orbit: True to turn the camera around the scene; by default only if neither paths nor surfaces move, or with
            ``turn``.
        descent: True to grow the paths step by step; by default if there are paths, unless ``orbit`` is set.
        turn: angle of the orbit in degrees, counter-clockwise from above; 360, or 60 together with a descent. The
            orbit begins at the scene's view, and together with a descent it ends there.
        seconds: duration in seconds.
        fps: frames per second; 25, or 12.5 for a GIF.
        hold: seconds at the end during which the last frame of a descent, or of surfaces through training, is held;
            1.5, or a quarter of a shorter animation.
        interpolate: interpolate surfaces through training between their checkpoints, which the note says; otherwise
            each checkpoint stays until the next one.
    """

    orbit: bool | None = None
    descent: bool | None = None
    turn: float | None = None
    seconds: float = 8.0
    fps: float | None = None
    hold: float | None = None
    interpolate: bool = True


@dataclass(frozen=True)
class FigureSize:
    """Size of an image.

    Attributes:
        pixels: width and height in pixels.
        style: text sizes in points, and the width in inches.
        dpi: resolution in pixels per inch.
        grows: True if only the width is given, so that notes and legend may add to the height.
    """

    pixels: tuple[int, int]
    style: styles.Size
    dpi: float
    grows: bool = False


def resolve_figure_size(
    size: SizeSpec,
    dpi: float | None,
    style: str | styles.Size | None,
    default: tuple[int, int],
    default_style: str = "page",
    panels: int = 1,
) -> FigureSize:
    """Return the size of an image from the options that are given.

    Pixels alone are spread over the width of the style; pixels and ``dpi`` make pixels / dpi inches; inches, or a named
    size, make inches * dpi pixels (at 300 dpi by default). Text has the style's size in points on that paper.

    Args:
        size: pixels, a size on paper, the name of a size, or None.
        dpi: resolution in dots per inch, or None.
        style: named size that sets the text sizes and, where nothing else does, the width; None for ``default_style``.
        default: width and height in pixels where neither size nor dpi is given.
        default_style: style where none is given.
        panels: number of panels, on which the proportions of a named size depend.

    Raises:
        ValueError: no such size, or three options that contradict each other.
    """
    if dpi is not None and not dpi > 0:
        raise ValueError(f"dpi: expected a resolution above 0, got {dpi:g}")
    if isinstance(size, str) and size.strip().lower() in styles.SIZES:
        named = styles.SIZES[size.strip().lower()]
        if style is not None and styles.named_size(style) != named:
            raise ValueError(f"expected either a named size or a style, got size {size!r} and style {style!r}")
        style, size = named, None
        dpi = dpi or DPI
    text = styles.named_size(default_style if style is None else style)
    if size is None and dpi is None:
        return FigureSize(default, text, default[0] / text.width)
    if size is None and dpi is not None:
        width, height = default_aspect(text, panels)
        pixels = round(text.width * dpi), round(text.width * dpi * height / width)
        return _checked(FigureSize(pixels, text, dpi, grows=not text.fills_height))
    width, height, unit = _parse_size(size)
    if unit == "px":
        pixels = round(width), round(height)
        if dpi is None:
            return _checked(FigureSize(pixels, text, pixels[0] / text.width))
        inches = pixels[0] / dpi
        if style is not None and abs(text.width * dpi - pixels[0]) > 1:
            raise ValueError(
                f"{pixels[0]} pixels at {dpi:g} dpi are {inches:.4g} inches wide, but the style is {text.width:g} "
                "inches wide; leave out the size, the dpi or the style"
            )
        return _checked(FigureSize(pixels, replace(text, width=inches), dpi))
    dpi, inch = dpi or DPI, _INCHES[unit]
    pixels = round(width * inch * dpi), round(height * inch * dpi)
    return _checked(FigureSize(pixels, replace(text, width=width * inch), dpi))


def default_aspect(style: styles.Size, panels: int) -> tuple[float, float]:
    """Return the proportions, width to height, of a figure whose width alone is given.

    Panels are side by side where each is at least 14 characters wide, and otherwise stacked.
    """
    if style.fills_height:
        return style.width, style.height
    if panels == 1:
        return 4, 3
    width = style.width * 72 / style.font
    free, columns = width - BAR_SPACE, panel_columns(style, panels)
    rows = math.ceil(panels / columns)
    # In units of the font size: panels of nearly equal sides with their titles, and legend and note around them.
    return width, rows * (_PANEL_HEIGHT * free / columns + 3) + 4


def panel_columns(style: styles.Size, panels: int) -> int:
    """Return the number of panels beside each other in a figure whose width alone is given."""
    free = style.width * 72 / style.font - BAR_SPACE
    columns = min(panels, max(1, int(free / _MIN_COLUMN)))
    return math.ceil(panels / math.ceil(panels / columns))


def _parse_size(size: SizeSpec) -> tuple[float, float, str]:
    if isinstance(size, tuple | list):
        width, height = size
        return float(width), float(height), "px"
    match = _SIZE.fullmatch(size or "")
    try:
        if match is not None:
            return float(match[1]), float(match[2]), (match[3] or "px").lower()
    except ValueError:  # several decimal points
        pass
    raise ValueError(
        f"size: expected pixels like 1600x1200, a size on paper like 5.5x4in or 14x10cm, or one of "
        f"{', '.join(styles.SIZES)}, got {size!r}"
    )


def _checked(size: FigureSize) -> FigureSize:
    width, height = size.pixels
    if width < _LEAST_PIXELS or height < _LEAST_PIXELS:
        raise ValueError(f"expected an image at least {_LEAST_PIXELS} pixels wide and high, got {width} x {height}")
    return size

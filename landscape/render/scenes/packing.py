"""Largest scale at which scenes and the text in the corners beside them fit into a figure. Arrays only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import numpy as np

from landscape.render.scenes.outline import Outline

EDGE = 0.5
"""Free border of a figure, in font sizes."""
Corner = Literal["upper left", "upper right", "lower left", "lower right"]
_SHIFTS, _STEPS = 9, 8
"""Positions of a scene along the width that are tried, and halvings of the interval of scales."""
_SHRUNK = (1.0, 0.96, 0.92, 0.87, 0.82, 0.76, 0.7, 0.63)
"""Scales that are tried where the height is free, as fractions of the one that fills the width."""
_FLATTEST, _TALLEST, _WITH_MUCH_TEXT = 0.55, 1.0, 3.0
"""Smallest height over width of a panel, and largest ones of a figure, whose height is free."""


@dataclass(frozen=True)
class Block:
    """A text in a corner of a panel; of several in one corner, the first is outermost.

    Attributes:
        name: what the text is.
        panel: number of the panel.
        corner: corner of the panel.
        width: width in font sizes, with the space that others keep from it.
        height: height in font sizes, with the space that others keep from it.
    """

    name: str
    panel: int
    corner: Corner
    width: float
    height: float

    @property
    def is_above(self) -> bool:
        """True in an upper corner."""
        return self.corner.startswith("upper")

    def span(self, cell: float) -> tuple[float, float]:
        """Return where the block begins and ends along the width of its panel."""
        return (0.0, self.width) if self.corner.endswith("left") else (cell - self.width, cell)


@dataclass(frozen=True)
class Arrangement:
    """Positions of the texts of a figure.

    Attributes:
        columns: number of panels beside each other.
        blocks: texts in the corners of panels.
        foot: height below all panels, in font sizes.
    """

    columns: int
    blocks: Sequence[Block] = ()
    foot: float = 0.0

    def stacked(self, panel: int, above: bool) -> Iterator[tuple[Block, float]]:
        """Yield the blocks of a panel in its upper or lower corners, and the distance of each from the border."""
        reached: dict[Corner, float] = {}
        for block in self.blocks:
            if block.panel == panel and block.is_above == above:
                yield block, reached.get(block.corner, 0.0)
                reached[block.corner] = reached.get(block.corner, 0.0) + block.height


@dataclass(frozen=True)
class Packing:
    """Scenes in a figure, all lengths in font sizes.

    Attributes:
        arrangement: positions of the texts.
        size: width and height of the figure.
        cell: width and height of each panel.
        scale: length of a unit of the base.
        at: focal point of each scene, from the lower left corner of its panel.
        share: share of the figure that surfaces cover.
    """

    arrangement: Arrangement
    size: tuple[float, float]
    cell: tuple[float, float]
    scale: float
    at: tuple[float, float]
    share: float = field(default=0.0)


def pack(
    outlines: Sequence[Outline], arrangements: Sequence[Arrangement], width: float, height: float | None
) -> Packing | None:
    """Return the scenes at the scale at which surfaces cover most of the figure; None if they don't fit at all.

    Args:
        outlines: outline of each panel.
        arrangements: possible arrangements, in order of preference: a later one must make surfaces 3% larger.
        width: width of the figure in font sizes.
        height: height in font sizes; None for the height that suits the scenes.
    """
    return _best(outlines, arrangements, width, height, _TALLEST) or (
        # Much text needs a taller figure, if that is possible.
        None if height is not None else _best(outlines, arrangements, width, None, _WITH_MUCH_TEXT)
    )


def _best(
    outlines: Sequence[Outline],
    arrangements: Sequence[Arrangement],
    width: float,
    height: float | None,
    tallest: float,
) -> Packing | None:
    """Return the best of all arrangements; ``tallest`` is the largest height over width of a figure."""
    best: Packing | None = None
    widest: dict[int, float] = {}
    for arrangement in arrangements:
        columns = arrangement.columns
        if columns not in widest:
            widest[columns] = min(_widest(one, (width - 2 * EDGE) / columns) for one in outlines)
        enough = 1.03 * best.share if best is not None else 0.0
        best = _packed(outlines, arrangement, width, height, enough, widest[columns], tallest) or best
    return best


def _packed(
    outlines: Sequence[Outline],
    arrangement: Arrangement,
    width: float,
    height: float | None,
    enough: float,
    widest: float,
    tallest: float,
) -> Packing | None:
    """Return the scenes in one arrangement, or None unless surfaces cover more than ``enough``."""
    rows = -(-len(outlines) // arrangement.columns)
    cell = (width - 2 * EDGE) / arrangement.columns
    strips = arrangement.foot + 2 * EDGE
    area = sum(one.area for one in outlines)
    if widest <= 0 or not _blocks_fit(arrangement, rows * arrangement.columns, cell):
        return None
    low, high = (edge(np.array([edge(one.at[:, 1]) for one in outlines])) for edge in (np.min, np.max))

    def made(scale: float, at: tuple[float, float], up: float) -> Packing:
        size = (width, rows * up + strips)
        return Packing(arrangement, size, (cell, up), scale, at, scale**2 * area / (size[0] * size[1]))

    if height is None:
        best = None
        for scale in widest * np.array(_SHRUNK):
            bare = rows * max(scale * (high - low), _FLATTEST * cell) + strips
            if scale**2 * area / (width * bare) <= max(enough, best.share if best is not None else 0.0):
                continue  # without text in the corners even
            at, up = _needed(outlines, arrangement, cell, scale)
            up = max(up, _FLATTEST * cell)
            if rows * up + strips <= tallest * width * (rows if arrangement.columns == 1 else 1):
                packing = made(scale, at, up)
                if packing.share > max(enough, best.share if best is not None else 0.0):
                    best = packing
        return best
    up = (height - strips) / rows
    least = np.sqrt(enough * width * height / area)
    if least >= widest or (enough and _needed(outlines, arrangement, cell, least)[1] > up):
        return None
    scale, most = least, min(widest, up / (high - low))
    for _ in range(_STEPS):
        middle = (scale + most) / 2
        fits = _needed(outlines, arrangement, cell, middle)[1] <= up
        scale, most = (middle, most) if fits else (scale, middle)
    if scale <= 0:
        return None
    (x, y), needed = _needed(outlines, arrangement, cell, scale)
    return made(scale, (x, y + (up - needed) / 2), up) if needed <= up else None


def _widest(one: Outline, cell: float) -> float:
    """Return the largest scale at which an outline is no wider than a panel."""
    low, high = 0.0, cell / np.ptp(one.at[:, 0])
    for _ in range(20):
        middle = (low + high) / 2
        x = middle * one.at[:, 0]
        fits = (x + one.high[:, 0]).max() - (x + one.low[:, 0]).min() <= cell
        low, high = (middle, high) if fits else (low, middle)
    return low


def _blocks_fit(arrangement: Arrangement, panels: int, cell: float) -> bool:
    """Return True unless texts of a panel overlap each other or get out of it, whatever its height."""
    for panel, above in product(range(panels), (True, False)):
        sides: dict[Corner, float] = {}
        for block, _ in arrangement.stacked(panel, above):
            sides[block.corner] = max(sides.get(block.corner, 0.0), block.width)
        if sum(sides.values()) > cell + 1e-6:
            return False
    return True


def _needed(
    outlines: Sequence[Outline], arrangement: Arrangement, cell: float, scale: float
) -> tuple[tuple[float, float], float]:
    """Return the focal point in its panel, and the smallest height of the panels at this scale."""
    sides = [(scale * one.at[:, 0] + one.low[:, 0], scale * one.at[:, 0] + one.high[:, 0]) for one in outlines]
    left, right = min(lo.min() for lo, _ in sides), max(hi.max() for _, hi in sides)
    # The middle of the free width is tried first, and kept unless another position is lower.
    free = cell - right + left
    shifts = -left + max(free, 0.0) * np.concatenate([[0.5], np.linspace(0, 1, _SHIFTS)])
    low, above = np.zeros(len(shifts)), []
    for k, (one, (lo, hi)) in enumerate(zip(outlines, sides, strict=True)):
        ups = scale * one.at[:, 1]
        floor, ceiling = (_obstacles(arrangement, k, cell, lo, hi, shifts, above=side) for side in (False, True))
        low = np.maximum(low, (floor - ups - one.low[:, 1]).max(1))
        above.append((ceiling + ups + one.high[:, 1]).max(1))
    heights = low + np.max(above, axis=0)
    best = int(np.argmin(heights - 0.02 * (np.arange(len(shifts)) == 0)))
    return (float(shifts[best]), float(low[best])), max(float(heights[best]), _height_of_blocks(arrangement, cell))


def _obstacles(
    arrangement: Arrangement, panel: int, cell: float, lo: np.ndarray, hi: np.ndarray, shifts: np.ndarray, above: bool
) -> np.ndarray:
    """Return ``(shifts, n)``: how far from the border of the panel each rectangle of an outline must be."""
    far = np.zeros((len(shifts), len(lo)))
    for block, start in arrangement.stacked(panel, above):
        begin, end = block.span(cell)
        hit = (lo + shifts[:, None] < end) & (hi + shifts[:, None] > begin)
        np.maximum(far, (start + block.height) * hit, out=far)
    return far


def _height_of_blocks(arrangement: Arrangement, cell: float) -> float:
    """Return the height at which texts in upper corners are above those in lower ones."""
    highest = 0.0
    for panel in {block.panel for block in arrangement.blocks}:
        upper, lower = (list(arrangement.stacked(panel, above)) for above in (True, False))
        for (one, reach), (other, rise) in product(upper, lower):
            (a, b), (c, d) = one.span(cell), other.span(cell)
            if a < d and c < b:
                highest = max(highest, reach + one.height + rise + other.height)
    return highest

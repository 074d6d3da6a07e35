"""The usual planes: along random directions, through checkpoints, along the principal components of a path."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from landscape.geometry.direction import Direction, difference, orthogonalize, random_direction, random_directions
from landscape.geometry.pca import Source, principal_directions
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights


def random_plane(
    origin: nn.Module | Weights,
    seed: int = 0,
    axes: int = 2,
    norm: str = "filter",
    ignore: str = "biasbn",
    only: Sequence[str] = (),
    freeze: Sequence[str] = (),
    orthogonal: bool = False,
    same_direction: bool = False,
    first: Sequence[Direction] = (),
) -> Plane:
    """A plane along random directions normalized to its origin: with the defaults, the published method.

    Args:
        origin: a network, whose weights as they are now become the origin, or weights.
        seed: see :func:`landscape.geometry.direction.gaussian`.
        axes: one to three.
        norm: see :func:`landscape.geometry.normalization.normalize`.
        ignore: see :func:`landscape.geometry.normalization.normalize`.
        only: see :func:`landscape.geometry.direction.chosen`.
        freeze: see :func:`landscape.geometry.direction.chosen`.
        orthogonal: Gram-Schmidt over the axes in order, among the tensors that move and before normalization, which
            bends the angle again; the plane's ``cosines`` say what is left of it.
        same_direction: all axes are the first direction, as a check of a sweep: such a surface is a function of the
            sum of its coordinates.
        first: directions that take the first axes as they are (to a checkpoint, from a file); random ones fill the
            others, the same ones as would stand on these axes without ``first``.

    Raises:
        ValueError: unknown names or patterns, nothing to move, more given directions than axes, or a wish for axes
            that are both orthogonal and the same.
    """
    if not 1 <= axes <= 3:
        raise ValueError(f"one to three axes expected, got {axes}")
    if len(first) > axes:
        raise ValueError(f"at most {axes} given directions expected for {axes} axes, got {len(first)}")
    if orthogonal and same_direction:
        raise ValueError("axes either orthogonal or of the same direction expected, not both")
    weights = origin if isinstance(origin, Weights) else Weights.of(origin).to("cpu")
    look = (norm, ignore, only, freeze)
    if same_direction:
        x = first[0] if first else random_direction(weights, seed, 0, *look)
        return Plane(weights, (x, *[x.revised(x.weights, same_direction=True)] * (axes - 1)))
    return Plane(weights, tuple(random_directions(weights, seed, range(len(first), axes), *look, orthogonal, first)))


def plane_through(
    origin: Weights, targets: Sequence[Weights], sources: Sequence[str] = (), orthogonal: bool = False
) -> Plane:
    """The plane through checkpoints: ``origin`` at zero, the first target at ``(1, 0)``, the second at ``(0, 1)``.

    Args:
        origin: the weights at coordinates zero.
        targets: one to three, one for each axis. With running statistics in ``origin`` these are interpolated too.
        sources: what the file should say about where each target comes from.
        orthogonal: Gram-Schmidt over the axes; all but the first target then have other coordinates, which
            ``project`` tells.

    Raises:
        ValueError: another number of targets, targets of another network, or points that lie on one line.
    """
    if sources and len(sources) != len(targets):
        raise ValueError(f"a source for each of {len(targets)} targets expected, got {len(sources)}")
    names = sources or [""] * len(targets)
    directions = [difference(origin, target, name) for target, name in zip(targets, names, strict=True)]
    for direction, name in zip(directions, names, strict=True):
        if not direction.weights.norm() > 0:
            raise ValueError(f"targets that differ from the origin expected; {name or 'one'} is equal to it")
    return Plane(origin, tuple(orthogonalize(directions) if orthogonal else directions))


def principal_plane(
    origin: Weights,
    checkpoints: Sequence[Source],
    axes: int = 2,
    ignore: str = "none",
    only: Sequence[str] = (),
    freeze: Sequence[str] = (),
) -> Plane:
    """The plane along the principal components of checkpoints of one run or of several joined.

    Args:
        origin: the weights at coordinates zero; the published choice is the last checkpoint.
        checkpoints: see :func:`landscape.geometry.pca.principal_directions`, as for the other arguments.
        axes: how many components.
        ignore: tensors that keep still.
        only: patterns of names that may move.
        freeze: patterns of names that may not.
    """
    return Plane(origin, tuple(principal_directions(origin, checkpoints, axes, ignore, only, freeze)))

"""Ways to a network's outputs at a point: the module itself, or a faster form that was seen to compute the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from landscape.geometry.plane import Plane
from landscape.problem.problem import Split

log = logging.getLogger(__name__)

PROBE = (0.5, -0.25, 0.125)
"""Where engines are compared, in multiples of the directions: off the origin, so that whatever a form has frozen at
the origin shows. Where the network has no finite outputs there, at a tenth of it, and so on."""


class Unsuitable(Exception):
    """This engine does not understand the network; the message says what stands in the way."""


@dataclass(frozen=True)
class Setting:
    """What an engine is built for.

    Attributes:
        model: the network, in evaluation mode, on the device.
        device: where the model and the data are.
        move: puts coordinates' weights into ``model``.
        plane: origin and directions, on the device, in the dtype that is added in.
        batches: by split, its samples batch by batch; ``inputs`` are what the network is given.
    """

    model: nn.Module
    device: torch.device
    move: Callable[[Sequence[float]], None]
    plane: Plane
    batches: Mapping[str, Sequence[Split]]


class Engine(Protocol):
    """One way to the outputs; used as ``move``, ``prepare``, then ``outputs`` for every batch.

    Attributes:
        name: what ``--engine`` and the file call it.
        points: how many points it computes at once.
    """

    name: str
    points: int

    def move(self, *points: Sequence[float]) -> None:
        """Go to as many points as it takes at once."""

    def prepare(self) -> None:
        """What has to be done once per point when weights and statistics are what they will be."""

    def outputs(self, split: str, number: int) -> Any:
        """The network's outputs for batch ``number`` of ``split``; valid until the next call.

        Of several points, those of one behind those of the other along the first axis.
        """


class Plain:
    """The module as it is: understands everything, and is what the others are compared with."""

    name, points = "plain", 1

    def __init__(self, setting: Setting) -> None:
        self._model, self._batches = setting.model, setting.batches
        self.move, self.network = setting.move, setting.model

    def prepare(self) -> None:
        self._model.eval()

    def outputs(self, split: str, number: int) -> Any:
        return self.network(self._batches[split][number].inputs)


def choose(asked: str, setting: Setting, require: Callable[[Engine, Engine], None]) -> Engine:
    """The engine called ``asked``, or with ``auto`` the first that computes what the module computes.

    Args:
        asked: a name, or ``auto``.
        setting: what for.
        require: told an engine and the plain one, raises :class:`Unsuitable` where the first will not do.

    Raises:
        ValueError: ``asked`` does not suit this network; the message says why.
    """
    from landscape.sweep.compiled import Compiled
    from landscape.sweep.dense import Dense
    from landscape.sweep.folded import Folded
    from landscape.sweep.grouped import Grouped

    plain = Plain(setting)
    with torch.inference_mode():
        for kind in (Grouped, Dense, Folded, Compiled):
            # Compiling takes longer than most sweeps save by it: it is never done unasked.
            if asked != kind.name and (asked != "auto" or kind is Compiled):
                continue
            try:
                engine = kind(setting)
                require_same(engine, plain, setting)
                require(engine, plain)
            except Unsuitable as error:
                if asked == kind.name:
                    raise ValueError(f"engine {asked!r} does not suit this network: {error}") from error
                log.debug("engine %s: %s", kind.name, error)
            else:
                return engine
    return plain


def require_same(engine: Engine, plain: Engine, setting: Setting) -> None:
    """Raise :class:`Unsuitable` unless ``engine`` gives the outputs of ``plain`` off the origin and at it.

    Off it on the first and the last batch of every split, which differ in length where the last is shorter. Equal
    means within the square root of the dtype's precision, of the largest output: a form that is right differs by
    rounding, and one that is wrong by whole parts.
    """
    batches = [(split, number) for split, all_ in setting.batches.items() for number in sorted({0, len(all_) - 1})]
    probe = PROBE[: setting.plane.ndim]
    for scale in (1.0, 0.1, 0.01, 0.001):
        off = tuple(scale * c for c in probe)
        wanted = _outputs(plain, setting, off, batches)
        if all(bool(torch.isfinite(leaf).all()) for leaf in wanted):
            break
    else:
        raise Unsuitable("the network has no finite outputs near the origin to compare with")
    for where, which in ((off, batches), ((0.0,) * len(probe), batches[:1])):
        want = wanted if where is off else _outputs(plain, setting, where, which)
        got = _outputs(engine, setting, where, which)
        if len(got) != len(want):
            raise Unsuitable(f"{len(got)} outputs instead of {len(want)}")
        for g, w in zip(got, want, strict=True):
            if g.shape != w.shape or g.dtype != w.dtype:
                raise Unsuitable(f"outputs {tuple(g.shape)} {g.dtype} instead of {tuple(w.shape)} {w.dtype}")
            if w.is_floating_point() and w.numel():
                tolerance = torch.finfo(w.dtype).eps ** 0.5 * w.abs().max()
                if not bool(((g - w).abs() <= tolerance).all()):
                    raise Unsuitable(f"outputs differ by {float((g - w).abs().max()):.2g} at {where}")
            elif not torch.equal(g, w):
                raise Unsuitable(f"outputs differ at {where}")


def _outputs(
    engine: Engine, setting: Setting, coordinates: Sequence[float], batches: Sequence[tuple[str, int]]
) -> list[Tensor]:
    """Leaves of the outputs for some batches, copied since an engine may use its memory again."""
    try:
        engine.move(*[coordinates] * engine.points)
        seed(setting.device)
        engine.prepare()
        leaves = []
        for batch in batches:
            for leaf in pytree.tree_leaves(engine.outputs(*batch)):
                if not isinstance(leaf, Tensor):
                    raise Unsuitable("the network's outputs are not all tensors")
                leaves.append(leaf[: len(leaf) // engine.points].clone() if engine.points > 1 else leaf.clone())
    except Exception as error:  # whatever an engine stumbles over, the module itself remains
        raise Unsuitable(f"{engine.name} fails: {type(error).__name__}: {error}") from error
    return leaves


def hooked(module: nn.Module) -> bool:
    """Whether calling ``module`` runs more than its ``forward``."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def seed(device: torch.device) -> None:
    """Whatever draws random numbers draws the same ones at every point."""
    if device.type == "cpu":
        # torch.manual_seed takes 70 us, and keeps a note for every accelerator that is not in use, for ever.
        torch.default_generator.manual_seed(0)
    else:
        torch.manual_seed(0)

"""Which engine computes a sweep: the first that was seen to give what the module gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from landscape._utils.torch_compat import tree_leaves
from landscape._utils.torch_state import seed_random
from landscape.evaluation.engines.base import EagerEngine, Engine, EngineContext, EngineNotApplicable
from landscape.evaluation.engines.batched_mlp import BatchedMLPEngine
from landscape.evaluation.engines.bn_folded import BatchNormFoldedEngine
from landscape.evaluation.engines.compiled import CompiledEngine
from landscape.evaluation.engines.mlp import MLPEngine

_log = logging.getLogger(__name__)

PROBE = (0.5, -0.25, 0.125)
"""Where engines are compared, in multiples of the directions: off the origin, so that whatever a form has frozen at
the origin shows. Where the network has no finite outputs there, at a tenth of it, and so on."""


def choose(asked: str, setting: EngineContext, require: Callable[[Engine, Engine], None]) -> Engine:
    """The engine called ``asked``, or with ``auto`` the first that computes what the module computes.

    Args:
        asked: a name, or ``auto``.
        setting: what for.
        require: told an engine and the plain one, raises :class:`EngineNotApplicable` where the first will not do.

    Raises:
        ValueError: ``asked`` does not suit this network; the message says why.
    """
    plain = EagerEngine(setting)
    with torch.inference_mode():
        for kind in (BatchedMLPEngine, MLPEngine, BatchNormFoldedEngine, CompiledEngine):
            # Compiling takes longer than most sweeps save by it: it is never done unasked.
            if asked != kind.name and (asked != "auto" or kind is CompiledEngine):
                continue
            try:
                engine = kind(setting)
                require_same(engine, plain, setting)
                require(engine, plain)
            except EngineNotApplicable as error:
                if asked == kind.name:
                    raise ValueError(f"engine {asked!r} does not suit this network: {error}") from error
                _log.debug("engine %s: %s", kind.name, error)
            else:
                return engine
    return plain


def require_same(engine: Engine, plain: Engine, setting: EngineContext) -> None:
    """Raise :class:`EngineNotApplicable` unless ``engine`` gives the outputs of ``plain`` off the origin and at it.

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
        raise EngineNotApplicable("the network has no finite outputs near the origin to compare with")
    for where, which in ((off, batches), ((0.0,) * len(probe), batches[:1])):
        want = wanted if where is off else _outputs(plain, setting, where, which)
        got = _outputs(engine, setting, where, which)
        if len(got) != len(want):
            raise EngineNotApplicable(f"{len(got)} outputs instead of {len(want)}")
        for g, w in zip(got, want, strict=True):
            if g.shape != w.shape or g.dtype != w.dtype:
                raise EngineNotApplicable(f"outputs {tuple(g.shape)} {g.dtype} instead of {tuple(w.shape)} {w.dtype}")
            if w.is_floating_point() and w.numel():
                tolerance = torch.finfo(w.dtype).eps ** 0.5 * w.abs().max()
                if not bool(((g - w).abs() <= tolerance).all()):
                    raise EngineNotApplicable(f"outputs differ by {float((g - w).abs().max()):.2g} at {where}")
            elif not torch.equal(g, w):
                raise EngineNotApplicable(f"outputs differ at {where}")


def _outputs(
    engine: Engine, setting: EngineContext, coordinates: Sequence[float], batches: Sequence[tuple[str, int]]
) -> list[Tensor]:
    """Leaves of the outputs for some batches, copied since an engine may use its memory again."""
    try:
        engine.move(*[coordinates] * engine.points)
        seed_random(0, setting.device)
        engine.prepare()
        leaves = []
        for batch in batches:
            for leaf in tree_leaves(engine.outputs(*batch)):
                if not isinstance(leaf, Tensor):
                    raise EngineNotApplicable("the network's outputs are not all tensors")
                leaves.append((leaf[: len(setting.batches[batch[0]][batch[1]])] if engine.points > 1 else leaf).clone())
    except Exception as error:  # whatever an engine stumbles over, the module itself remains
        raise EngineNotApplicable(f"{engine.name} fails: {type(error).__name__}: {error}") from error
    return leaves

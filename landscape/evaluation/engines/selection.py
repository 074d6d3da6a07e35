"""Selection of an engine: the first that is applicable and reproduces the outputs of the module."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from landscape._utils.own_call import has_own_forward
from landscape._utils.torch_compat import tree_leaves
from landscape._utils.torch_state import seed_random
from landscape.evaluation.device import product_epsilon
from landscape.evaluation.engines.base import EagerEngine, Engine, EngineContext, EngineNotApplicable
from landscape.evaluation.engines.batched_mlp import BatchedMLPEngine
from landscape.evaluation.engines.bn_folded import BatchNormFoldedEngine
from landscape.evaluation.engines.chunked_loss import ChunkedLogits, ChunkedLossEngine
from landscape.evaluation.engines.compiled import CompiledEngine
from landscape.evaluation.engines.fused_conv import FusedConvEngine
from landscape.evaluation.engines.mlp import MLPEngine
from landscape.evaluation.grad_mode import PROBE, PROBE_SCALES

_log = logging.getLogger(__name__)

ENGINES: Mapping[str, Callable[[EngineContext], Engine]] = {
    "batched_mlp": BatchedMLPEngine,
    "mlp": MLPEngine,
    "fused_conv": FusedConvEngine,
    "bn_folded": BatchNormFoldedEngine,
    "chunked_loss": ChunkedLossEngine,
    "compiled": CompiledEngine,
}
"""Engines by name, in the order in which they are tried; the module itself is the last resort."""
AUTOMATIC = ("batched_mlp", "mlp", "fused_conv", "bn_folded", "chunked_loss")
"""Engines that ``auto`` tries. Compiling takes longer than it saves in most sweeps and is done only on request."""


def select_engine(name: str, context: EngineContext, check: Callable[[Engine, Engine], None]) -> Engine:
    """Return the engine called ``name``, or with ``auto`` the first that computes what the module computes.

    No timing takes part: equal problems get equal engines, on every rank and when a sweep is resumed.

    Args:
        name: a name in :data:`landscape.evaluation.config.ENGINES`.
        context: inputs from which engines are built.
        check: function of an engine and the eager one that raises :class:`EngineNotApplicable` if the first is not an
            acceptable replacement.

    Raises:
        ValueError: the engine called ``name`` is not applicable to this network; the message says why.
    """
    eager = EagerEngine(context)
    candidates = AUTOMATIC if name == "auto" else () if name == eager.name else (name,)
    if has_own_forward(context.model):
        if candidates and name != "auto":
            raise ValueError(
                f"engine {name!r} knows networks that are called as model(inputs) only, and this one has a forward of "
                "its own; use eager or auto"
            )
        candidates = ()
    if name == "auto" and context.grad_mode is torch.enable_grad:
        candidates = ()  # the others leave out what gradients need
    with context.grad_mode():
        for candidate in candidates:
            try:
                engine = _build(candidate, context)
                if isinstance(engine, ChunkedLossEngine):  # the outputs of a whole batch may not fit
                    few = context.first(2)
                    require_same_outputs(_build(candidate, few), EagerEngine(few), few)
                else:
                    require_same_outputs(engine, eager, context)
                check(engine, eager)
            except EngineNotApplicable as error:
                if name != "auto":
                    raise ValueError(f"engine {name!r} is not applicable to this network: {error}") from error
                _log.debug("engine %s: %s", candidate, error)
            else:
                return engine
    return eager


def _build(name: str, context: EngineContext) -> Engine:
    try:
        return ENGINES[name](context)
    except EngineNotApplicable:
        raise
    except Exception as error:  # a network may hold anything: TorchScript takes no hooks, sparse tensors have no memory
        raise EngineNotApplicable(f"{type(error).__name__}: {error}") from error


def require_same_outputs(engine: Engine, eager: Engine, context: EngineContext) -> None:
    """Raise :class:`EngineNotApplicable` unless ``engine`` gives the outputs of ``eager`` off the origin and at it.

    Off the origin they are compared on the first and the last batch of every split, which differ in length if the last
    is shorter. They may differ by the square root of the products' rounding error, relative to the largest output: a
    correct form differs by rounding, a wrong one by much more.
    """
    batches = [(split, number) for split, parts in context.batches.items() for number in sorted({0, len(parts) - 1})]
    probe = PROBE[: context.plane.ndim]
    for scale in PROBE_SCALES:
        off = tuple(scale * c for c in probe)
        outputs_off = _outputs(eager, context, off, batches)
        if all(bool(torch.isfinite(leaf).all()) for leaf in outputs_off):
            break
    else:
        raise EngineNotApplicable("it has no finite outputs near the origin to compare with")
    _require_close(_outputs(engine, context, off, batches), outputs_off, off)
    origin = (0.0,) * len(probe)
    at_origin = _outputs(eager, context, origin, batches[:1])
    _require_close(_outputs(engine, context, origin, batches[:1]), at_origin, origin)


def _require_close(found: Sequence[Tensor], expected: Sequence[Tensor], point: Sequence[float]) -> None:
    if len(found) != len(expected):
        raise EngineNotApplicable(f"{len(found)} outputs instead of {len(expected)}")
    for f, e in zip(found, expected, strict=True):
        if f.shape != e.shape or f.dtype != e.dtype:
            raise EngineNotApplicable(f"outputs {tuple(f.shape)} {f.dtype} instead of {tuple(e.shape)} {e.dtype}")
        if e.is_floating_point() and e.numel():
            tolerance = product_epsilon(e) ** 0.5 * e.abs().max()
            if not bool(((f - e).abs() <= tolerance).all()):
                raise EngineNotApplicable(f"outputs differ by {float((f - e).abs().max()):.2g} at {point}")
        elif not torch.equal(f, e):
            raise EngineNotApplicable(f"outputs differ at {point}")


def _outputs(
    engine: Engine, context: EngineContext, point: Sequence[float], batches: Sequence[tuple[str, int]]
) -> list[Tensor]:
    """Return the leaves of the outputs for some batches, copied since an engine may reuse its memory."""
    try:
        engine.set_points(*[point] * engine.points)
        seed_random(0, context.device)
        engine.prepare()
        leaves = []
        for split, number in batches:
            rows = len(context.batches[split][number])
            outputs = engine.outputs(split, number)
            for leaf in tree_leaves(outputs.whole() if isinstance(outputs, ChunkedLogits) else outputs):
                if not isinstance(leaf, Tensor):
                    raise EngineNotApplicable("its outputs are not all tensors")
                leaves.append((leaf[:rows] if engine.points > 1 else leaf).clone())
    except Exception as error:  # whatever an engine fails with, the module itself remains
        raise EngineNotApplicable(f"{engine.name} fails: {type(error).__name__}: {error}") from error
    return leaves

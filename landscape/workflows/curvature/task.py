"""The stages of a curvature computation on the root rank: eigenpairs, trace, density, layers, checkpoints."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape._utils.provenance import now
from landscape.analysis.curvature.curvature import (
    Curvature,
    CurvatureConfig,
    CurvatureHistory,
    CurvatureMetadata,
    LayerCurvature,
    SpectralDensity,
)
from landscape.analysis.curvature.density import Quadrature, lanczos_quadrature
from landscape.analysis.curvature.file import read_curvature, require_same_settings, write_curvature
from landscape.analysis.curvature.product_log import ProductLog
from landscape.analysis.curvature.trace import deflated, hutchinson, overlaps_of
from landscape.errors import DerivativeError
from landscape.evaluation.config import DTYPES
from landscape.evaluation.derivatives.derivatives import LossDerivatives
from landscape.evaluation.derivatives.eigenpairs import Eigenpairs, find_eigenpairs, random_vector
from landscape.training.checkpoint import Checkpoint
from landscape.workflows.curvature.operator import CurvatureOperator
from landscape.workflows.curvature.vectors import by_name, layer_forms, rows_of
from landscape.workflows.progress import StageProgress

_TRACE_PROBES, _DENSITY_PROBES = 1_000_000, 2_000_000
"""Indices of the first random vectors for trace and density; the start vector has index 0."""
_BLOCK = 8
"""Largest number of vectors that share a pass over the data: beyond it, little is gained."""
_BASIS_BYTES = 2**30
"""Size of the bases of several probes that advance together; one alone may be larger."""

_Array = npt.NDArray[np.float64]


class Stopped(Exception):
    """The caller wants to stop; everything that is finished is in the file."""


@dataclass
class CurvatureTask:
    """A computation of curvature, stage by stage, on the root rank.

    Attributes:
        operator: products over all ranks.
        config: what to compute.
        settings: everything else that decides the numbers.
        provenance: problem, checkpoint, command, versions.
        checkpoints: further points at which to compute the largest eigenvalues.
        out: file to write; None to keep everything in memory.
        overwrite: replace an existing file instead of resuming it.
        progress: called as the work advances.
        stop: polled between products.
    """

    operator: CurvatureOperator
    config: CurvatureConfig
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    checkpoints: Sequence[Checkpoint]
    out: Path | None
    overwrite: bool
    progress: Callable[[StageProgress], None]
    stop: Callable[[], bool]

    def run(self) -> Curvature:
        """Compute what is left to compute, and return the results; incomplete if the caller wanted to stop.

        Raises:
            StoreError: the file was made with other settings, or cannot be written.
            DerivativeError: the loss has no finite second derivatives.
        """
        self._log: ProductLog | None = None
        if self.out is None:
            return self._run()
        with ProductLog(self.out.with_name(f".{self.out.name}.products")) as log:
            self._log = log
            if self.overwrite or not self.out.exists():
                log.clear()
            found = self._run()
            log.close(remove=found.complete)
        return found

    def _run(self) -> Curvature:
        config = self.config
        try:
            with self.operator.open(config.only, config.freeze) as derivatives:
                self._begin(derivatives)
                if not len(self._found.eigenvalues):
                    self._store(self._eigenpairs(derivatives))
                if config.trace_probes and self._found.trace is None:
                    self._store(self._trace(derivatives))
                while len(self._nodes) < config.density_probes:
                    self._store(self._density(derivatives))
                layers = self._layers(derivatives)
            if config.by_layer:
                for index, (layer, names) in enumerate(layers.items()):
                    if self._found.layers is None or np.isnan(self._found.layers.eigenvalues[index]):
                        self._store(self._layer(index, layer, names, layers))
            for checkpoint in self.checkpoints:
                if self._found.history is None or checkpoint.step not in self._found.history.step:
                    self._store(self._checkpoint(checkpoint))
            finished = replace(self._found.metadata, finished=now())
            if not self._found.complete:
                self._store(replace(self._found, metadata=finished))
        except Stopped:
            pass
        return self._found

    def _begin(self, derivatives: LossDerivatives) -> None:
        """Read what the file has, or create it."""
        settings = {
            **self.settings,
            "config": self.config.to_json(),
            "batch_size": derivatives.batch_size,
            "tensors": list(derivatives.parameters),
        }
        self._key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        if self.out is not None and self.out.exists() and not self.overwrite:
            self._found = read_curvature(self.out)
            require_same_settings(settings, self._found.metadata.settings, self.out)
            return
        none, flags = np.empty(0), np.empty(0, dtype=bool)
        metadata = CurvatureMetadata(settings, {**self.provenance, "started": now()})
        self._found = Curvature(self.config, derivatives.n, none, none, flags, none, none, flags, metadata=metadata)
        self._store(self._found)

    def _store(self, found: Curvature) -> None:
        self._found = found
        if self.out is not None:
            write_curvature(self.out, found, overwrite=True)

    @property
    def _nodes(self) -> _Array:
        density = self._found.density
        return np.empty((0, 0)) if density is None else density.quadrature.nodes

    def _start(self, stage: str) -> None:
        """Begin a stage: its products are repeated from the log as far as they are there."""
        self._count = self._found.products
        if self._log is not None:
            self._log.begin(f"{self._key}/{stage}")

    def _computed(self, function: Callable[[], Tensor], products: int, device: torch.device) -> Tensor:
        if self.stop():
            raise Stopped
        found = function() if self._log is None else self._log.compute(function, device)
        self._count += products
        return found

    def _product(self, vectors: Tensor, derivatives: LossDerivatives) -> Tensor:
        """Return the product with ``(n,)`` or ``(k, n)``, in the type of the network, from the log if it is there."""
        dtype = DTYPES[derivatives.config.dtype]

        def compute() -> Tensor:
            return self.operator.product(vectors, self.config.matrix).to(dtype)

        return self._computed(compute, 1 if vectors.dim() == 1 else len(vectors), derivatives.device)

    def _report(self, stage: str, unit: str, done: int, total: int, note: str = "") -> None:
        self.progress(StageProgress(stage, unit, done, total, note))

    def _find(
        self, derivatives: LossDerivatives, largest: int, smallest: int, stage: str
    ) -> tuple[Eigenpairs, _Array, npt.NDArray[np.bool_]]:
        """Return eigenpairs with the residuals that a product with each shows, and their marks."""
        self._start(stage)
        n, config = derivatives.n, self.config
        start = random_vector(n, config.seed).to(derivatives.device, DTYPES[derivatives.config.dtype])

        def watch(products: int, converged: int) -> None:
            self._report(stage, "pair", converged, largest + smallest, f"{products} products")

        found = find_eigenpairs(
            lambda vector: self._product(vector, derivatives), start, largest, smallest, tolerance=config.tolerance,
            max_products=config.max_products, relative=True, seed=config.seed, watch=watch,
        )  # fmt: skip
        if not np.isfinite(found.values).all():
            raise DerivativeError(
                f"{stage}: expected finite products, got NaN or infinity in product {found.products}: the loss, or its "
                "second derivatives, are not finite at these weights"
            )
        residuals = []
        for begin in range(0, len(found.values), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            images = self._product(found.vectors[part], derivatives).double()
            values = torch.from_numpy(found.values[part]).to(images.device)
            difference = images - values[:, None] * found.vectors[part].double()
            residuals += torch.linalg.vector_norm(difference, dim=1).tolist()
        rounding = torch.finfo(start.dtype).eps * n**0.5 * np.abs(found.values).max()
        measured = np.array(residuals)
        return found, measured, measured <= config.tolerance * np.abs(found.values) + rounding

    def _eigenpairs(self, derivatives: LossDerivatives) -> Curvature:
        n = derivatives.n
        k, s = min(self.config.k, n), min(self.config.smallest or 0, n)
        found, residuals, converged = self._find(derivatives, k, s, "eigenpairs")
        ends: dict[str, Any] = {}
        # Smallest first at the lower end.
        for prefix, part in (("", np.arange(k)), ("smallest_", k + np.arange(s)[::-1])):
            vectors = found.vectors[torch.from_numpy(part.copy())].cpu()
            ends |= {
                f"{prefix}eigenvalues": found.values[part],
                f"{prefix}residuals": residuals[part],
                f"{prefix}converged": converged[part],
                f"{prefix}eigenvectors": by_name(vectors, derivatives) if len(part) else {},
            }
        return replace(self._found, products=self._count, **ends)

    def _eigenvectors(self, derivatives: LossDerivatives) -> tuple[_Array, Tensor]:
        """Return the known eigenvalues and eigenvectors ``(k, n)``, each once."""
        values = [self._found.eigenvalues]
        rows = [rows_of(self._found.eigenvectors, derivatives)]
        if len(self._found.eigenvalues) + len(self._found.smallest_eigenvalues) <= derivatives.n:
            values.append(self._found.smallest_eigenvalues)
            rows.append(rows_of(self._found.smallest_eigenvectors, derivatives))
        return np.concatenate(values), torch.cat(rows).to(derivatives.device)

    def _probes(self, derivatives: LossDerivatives, first: int, numbers: range) -> Tensor:
        dtype = DTYPES[derivatives.config.dtype]
        rows = [random_vector(derivatives.n, self.config.seed, first + i, signs=True).to(dtype) for i in numbers]
        return torch.stack(rows).to(derivatives.device)

    def _trace(self, derivatives: LossDerivatives) -> Curvature:
        self._start("trace")
        layers, total = self._layers(derivatives), self.config.trace_probes
        values, vectors = self._eigenvectors(derivatives)
        forms, overlaps = [], []
        for begin in range(0, total, _BLOCK):
            probes = self._probes(derivatives, _TRACE_PROBES, range(begin, min(begin + _BLOCK, total)))

            def compute(probes: Tensor = probes) -> Tensor:
                images = self.operator.product(probes, self.config.matrix)
                return torch.stack(
                    [layer_forms(v, a, derivatives, layers) for v, a in zip(probes, images, strict=True)]
                )

            found = self._computed(compute, len(probes), derivatives.device)
            if not bool(torch.isfinite(found).all()):
                raise DerivativeError("trace: expected finite products, got NaN or infinity at these weights")
            forms.append(found.cpu().numpy())
            overlaps.append(overlaps_of(vectors, probes))
            self._report("trace", "probe", begin + len(probes), total)
        by_layer = np.concatenate(forms)
        whole = by_layer.sum(axis=1)
        stderr = np.full(len(layers), np.nan)
        if total > 1:
            stderr = by_layer.std(axis=0, ddof=1) / total**0.5
        unknown = np.full(len(layers), np.nan)
        sizes = np.array([sum(derivatives.parameters[name].numel() for name in names) for names in layers.values()])
        return replace(
            self._found,
            trace=deflated(whole, values, np.concatenate(overlaps)),
            hutchinson=hutchinson(whole),
            layers=LayerCurvature(tuple(layers), sizes, by_layer.mean(axis=0), stderr, unknown, unknown.copy()),
            products=self._count,
        )

    def _density(self, derivatives: LossDerivatives) -> Curvature:
        """Compute the quadrature of as many probes as their bases allow, and add it to the density."""
        config, done = self.config, len(self._nodes)
        steps = min(config.density_steps, derivatives.n)
        size = steps * derivatives.n * DTYPES[derivatives.config.dtype].itemsize
        count = min(max(1, _BASIS_BYTES // size), _BLOCK, config.density_probes - done)
        self._start(f"density {done}")
        seen = 0

        def product(vectors: Tensor) -> Tensor:
            nonlocal seen
            seen += 1
            total = steps * config.density_probes
            self._report("density", "product", done * steps + seen * len(vectors), total)
            return self._product(vectors, derivatives)

        found = lanczos_quadrature(
            product, self._probes(derivatives, _DENSITY_PROBES, range(done, done + count)), steps
        )
        if not np.isfinite(found.weights).all():
            raise DerivativeError("density: expected finite products, got NaN or infinity at these weights")
        if self._found.density is not None:
            before = self._found.density.quadrature
            found = Quadrature(
                np.concatenate([before.nodes, found.nodes]), np.concatenate([before.weights, found.weights])
            )
        return replace(self._found, density=SpectralDensity.from_quadrature(found), products=self._count)

    def _layers(self, derivatives: LossDerivatives) -> dict[str, list[str]]:
        """Return the names of the tensors of each layer: those with the same name up to the last dot."""
        layers: dict[str, list[str]] = {}
        for name in derivatives.parameters:
            layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
        return layers

    def _layer(self, index: int, layer: str, names: Sequence[str], layers: Mapping[str, Sequence[str]]) -> Curvature:
        with self.operator.open([re.sub(r"([*?[])", r"[\1]", name) for name in names]) as derivatives:
            found, residuals, _ = self._find(derivatives, 1, 0, f"layer {layer}")
            size = derivatives.n
        self._report("layers", "layer", index + 1, len(layers))
        known = self._found.layers
        if known is None:
            arrays = [np.full(len(layers), np.nan) for _ in range(4)]
            known = LayerCurvature(tuple(layers), np.zeros(len(layers), dtype=np.int64), *arrays)
        sizes, eigenvalues, all_residuals = known.sizes.copy(), known.eigenvalues.copy(), known.residuals.copy()
        sizes[index], eigenvalues[index], all_residuals[index] = size, found.values[0], residuals[0]
        known = replace(known, sizes=sizes, eigenvalues=eigenvalues, residuals=all_residuals)
        return replace(self._found, layers=known, products=self._count)

    def _checkpoint(self, checkpoint: Checkpoint) -> Curvature:
        with self.operator.open(self.config.only, self.config.freeze, checkpoint.path) as derivatives:
            k = min(self.config.k, derivatives.n)
            found, residuals, _ = self._find(derivatives, k, 0, f"checkpoint {checkpoint.step}")
        known = self._found.history
        row: dict[str, Any] = {
            "step": -1 if checkpoint.step is None else checkpoint.step,
            "epoch": float(checkpoint.epoch),
            "learning_rate": float(checkpoint.learning_rate),
            "eigenvalues": found.values,
            "residuals": residuals,
        }
        columns = {
            name: np.array([value]) if known is None else np.concatenate([getattr(known, name), [value]])
            for name, value in row.items()
        }
        history = CurvatureHistory(**columns)
        self._report("checkpoints", "checkpoint", len(history.step), len(self.checkpoints))
        return replace(self._found, history=history, products=self._count)

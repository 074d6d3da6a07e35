"""Curvature of the loss at a point: the choice of what to compute, and the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from landscape._utils.json_values import finite
from landscape._utils.names import split_patterns
from landscape.analysis.curvature.density import Quadrature
from landscape.analysis.curvature.trace import Estimate
from landscape.evaluation.derivatives.derivatives import MATRICES

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CurvatureConfig:
    """Choice of curvature matrix, and of the numbers to compute about it; stored in the file.

    Attributes:
        k: number of largest eigenvalues.
        smallest: number of smallest eigenvalues; by default ``k`` for the Hessian, and 0 for the other matrices, which
            have no negative ones.
        matrix: ``hessian``, ``gauss_newton``, ``fisher`` or ``empirical_fisher``; see
            :meth:`landscape.evaluation.derivatives.derivatives.LossDerivatives.product`.
        only: patterns of the names of parameters that move, or ``trainable`` for those that require gradients; all by
            default.
        freeze: patterns of the names of parameters that don't move.
        by_layer: also compute the largest eigenvalue of the block of each layer.
        trace_probes: number of random vectors for the trace; 0 for none.
        density_probes: number of random vectors for the spectral density; 0 for none.
        density_steps: Lanczos steps for each of them.
        tolerance: residual norm, relative to the magnitude of the eigenvalue, up to which an eigenpair has converged.
        max_products: number of products after which eigenpairs are taken as they are.
        seed: random seed of start vector and probes.

    Raises:
        ValueError: an unknown matrix, or a number out of range.
    """

    k: int = 5
    smallest: int | None = None
    matrix: str = "hessian"
    only: str | Sequence[str] = ()
    freeze: str | Sequence[str] = ()
    by_layer: bool = False
    trace_probes: int = 32
    density_probes: int = 4
    density_steps: int = 40
    tolerance: float = 1e-3
    max_products: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if self.matrix not in MATRICES:
            raise ValueError(f"matrix: expected one of {', '.join(MATRICES)}, got {self.matrix!r}")
        if self.smallest is None:
            object.__setattr__(self, "smallest", self.k if self.matrix == "hessian" else 0)
        least = {"k": 1, "smallest": 0, "trace_probes": 0, "density_probes": 0, "density_steps": 1, "seed": 0,
                 "max_products": 1}  # fmt: skip
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name}: expected {value} or more, got {getattr(self, name)}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance: expected a number between 0 and 1, got {self.tolerance}")
        for name in ("only", "freeze"):
            object.__setattr__(self, name, split_patterns(getattr(self, name)))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CurvatureConfig:
        """Return the choice in a file: defaults for fields that it lacks, other entries ignored."""
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {**asdict(self), "only": list(self.only), "freeze": list(self.freeze)}


@dataclass(frozen=True, eq=False)
class SpectralDensity:
    """The density of the eigenvalues, smoothed, as several random vectors see it.

    Attributes:
        grid: eigenvalues ``(g,)``, ascending.
        values: density at the points of the grid, ``(g,)``, the mean over the vectors; its integral is 1.
        spread: standard deviation over the vectors, ``(g,)``; NaN for one vector.
        width: standard deviation of the Gaussian kernel.
        quadrature: nodes and weights of each vector, from which any other smoothing follows.
    """

    grid: _Array
    values: _Array
    spread: _Array
    width: float
    quadrature: Quadrature

    @classmethod
    def from_quadrature(cls, quadrature: Quadrature, width: float | None = None) -> SpectralDensity:
        """Return the density on a grid that covers the spectrum.

        Args:
            quadrature: nodes and weights.
            width: standard deviation of the kernel; by default 1/200 of the range of the spectrum.
        """
        grid, width = quadrature.grid(width)
        densities = quadrature.density(grid, width)
        spread = densities.std(axis=0, ddof=1) if len(densities) > 1 else np.full(len(grid), np.nan)
        return cls(grid, densities.mean(axis=0), spread, width, quadrature)


@dataclass(frozen=True, eq=False)
class LayerCurvature:
    """Curvature of the blocks on the diagonal that belong to single layers.

    Attributes:
        names: names of the layers, in the order of the network.
        sizes: numbers of weights, ``(layers,)``.
        traces: traces of the blocks, ``(layers,)``; NaN without probes.
        trace_stderr: standard errors of the traces, ``(layers,)``.
        eigenvalues: largest eigenvalue of each block, ``(layers,)``; NaN if not computed.
        residuals: residual norms of these, ``(layers,)``.
    """

    names: tuple[str, ...]
    sizes: npt.NDArray[np.int64]
    traces: _Array
    trace_stderr: _Array
    eigenvalues: _Array
    residuals: _Array


@dataclass(frozen=True, eq=False)
class CurvatureHistory:
    """The largest eigenvalues at the checkpoints of a run.

    Attributes:
        step: optimizer steps, ``(c,)``.
        epoch: epochs, ``(c,)``; NaN where unknown.
        learning_rate: learning rates, ``(c,)``; NaN where unknown.
        eigenvalues: eigenvalues, largest first, ``(c, k)``.
        residuals: residual norms, ``(c, k)``.
    """

    step: npt.NDArray[np.int64]
    epoch: _Array
    learning_rate: _Array
    eigenvalues: _Array
    residuals: _Array

    @property
    def stability_limit(self) -> _Array:
        """The sharpness ``2 / learning rate`` above which gradient descent oscillates on a quadratic, ``(c,)``.

        It is that of plain gradient descent: momentum and adaptive methods have other limits (Cohen et al., 2021).
        """
        with np.errstate(divide="ignore"):
            limit: _Array = 2.0 / self.learning_rate
        return limit


@dataclass(frozen=True)
class CurvatureMetadata:
    """Provenance of a curvature file.

    Attributes:
        settings: everything that decides the numbers.
        provenance: problem, checkpoint, command, versions, times.
        finished: time at which the computation was completed; empty before.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    finished: str = ""


@dataclass(frozen=True, eq=False)
class Curvature:
    """Curvature of the loss at a point: ends of the spectrum, trace, density, layers, and history.

    Attributes:
        config: what was computed.
        parameters: number of weights.
        eigenvalues: the largest eigenvalues, largest first, ``(k,)``.
        residuals: norms of ``A x - eigenvalue x``, measured with a product each, ``(k,)``.
        converged: True where the residual is within the tolerance, ``(k,)``.
        smallest_eigenvalues: the smallest eigenvalues, smallest first, ``(s,)``.
        smallest_residuals: their residual norms, ``(s,)``.
        smallest_converged: True where these are within the tolerance, ``(s,)``.
        eigenvectors: eigenvectors of the largest, by parameter name, each ``(k, *shape)``; empty if not read.
        smallest_eigenvectors: those of the smallest, each ``(s, *shape)``; empty if not read.
        trace: the trace, with known eigenpairs exact; None if not computed (yet).
        hutchinson: the trace by Hutchinson's estimator from the same vectors; None if not computed.
        density: spectral density; None if not computed.
        layers: curvature by layer; None if neither probes nor blocks were computed.
        history: the largest eigenvalues at checkpoints; None if there is one point only.
        products: number of products with single vectors that everything took.
        metadata: settings and provenance.
    """

    config: CurvatureConfig
    parameters: int
    eigenvalues: _Array
    residuals: _Array
    converged: npt.NDArray[np.bool_]
    smallest_eigenvalues: _Array
    smallest_residuals: _Array
    smallest_converged: npt.NDArray[np.bool_]
    eigenvectors: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    smallest_eigenvectors: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    trace: Estimate | None = None
    hutchinson: Estimate | None = None
    density: SpectralDensity | None = None
    layers: LayerCurvature | None = None
    history: CurvatureHistory | None = None
    products: int = 0
    metadata: CurvatureMetadata = field(default_factory=CurvatureMetadata)

    def __repr__(self) -> str:
        parts = [f"{self.config.matrix} of {self.parameters:,} weights"]
        if self.eigenvalues.size:
            parts.append(f"largest eigenvalue {self.eigenvalues[0]:.4g}")
        if self.smallest_eigenvalues.size:
            parts.append(f"smallest {self.smallest_eigenvalues[0]:.4g}")
        if self.trace is not None:
            parts.append(f"trace {self.trace.value:.4g}")
        return f"<Curvature: {', '.join([*parts, 'complete' if self.complete else 'incomplete'])}>"

    @property
    def complete(self) -> bool:
        """True if nothing is left to compute."""
        return bool(self.metadata.finished)

    def tensors(self, index: int = 0, end: Literal["largest", "smallest"] = "largest") -> dict[str, Any]:
        """Return an eigenvector as tensors by parameter name, for :meth:`landscape.Direction.from_tensors`.

        Args:
            index: index of the eigenvalue at its end of the spectrum.
            end: ``largest`` or ``smallest``.

        Raises:
            ValueError: there is no such eigenvector, or eigenvectors were not read.
        """
        import torch

        vectors = self.eigenvectors if end == "largest" else self.smallest_eigenvectors
        count = len(next(iter(vectors.values()), ()))
        if not 0 <= index < count:
            raise ValueError(f"expected the index of one of {count} eigenvectors at this end, got {index}")
        return {name: torch.from_numpy(np.array(values[index])) for name, values in vectors.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, without eigenvectors and density, as JSON values; None for NaN and infinity."""
        values: dict[str, Any] = {
            "matrix": self.config.matrix,
            "parameters": self.parameters,
            "eigenvalues": self.eigenvalues.tolist(),
            "residuals": self.residuals.tolist(),
            "converged": self.converged.tolist(),
            "smallest_eigenvalues": self.smallest_eigenvalues.tolist(),
            "smallest_residuals": self.smallest_residuals.tolist(),
            "smallest_converged": self.smallest_converged.tolist(),
            "trace": None if self.trace is None else self.trace.value,
            "trace_stderr": None if self.trace is None else self.trace.stderr,
            "trace_interval": None if self.trace is None else [self.trace.low, self.trace.high],
            "hutchinson": None if self.hutchinson is None else self.hutchinson.to_json(),
            "products": self.products,
            "complete": self.complete,
        }
        if self.layers is not None:
            arrays = ("sizes", "traces", "trace_stderr", "eigenvalues", "residuals")
            values["layers"] = {"names": list(self.layers.names)} | {
                name: getattr(self.layers, name).tolist() for name in arrays
            }
        if self.history is not None:
            arrays = ("step", "epoch", "learning_rate", "eigenvalues", "residuals")
            values["history"] = {name: getattr(self.history, name).tolist() for name in arrays}
        found: dict[str, Any] = finite(values)
        return found

"""Curvature files: eigenpairs, trace, density, layers and history in HDF5."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from landscape.analysis.curvature.curvature import (
    Curvature,
    CurvatureConfig,
    CurvatureHistory,
    CurvatureMetadata,
    LayerCurvature,
    SpectralDensity,
)
from landscape.analysis.curvature.density import Quadrature
from landscape.analysis.curvature.trace import Estimate
from landscape.errors import StoreError
from landscape.surface.hdf5 import create_hdf5, open_hdf5, python_value, read_array, read_attributes
from landscape.surface.metadata import as_attribute
from landscape.surface.schema import Entry, Schema

CURVATURE_FORMAT, CURVATURE_VERSION = "landscape-curvature", 1

_ENDS = (("", "k"), ("smallest_", "s"))
_ESTIMATE = ("trace", "trace_stderr", "trace_low", "trace_high", "trace_hutchinson", "trace_hutchinson_stderr",
             "trace_hutchinson_low", "trace_hutchinson_high")  # fmt: skip
_LAYERS = ("sizes", "traces", "trace_stderr", "eigenvalues", "residuals")
_HISTORY = ("step", "epoch", "learning_rate", "eigenvalues", "residuals")

SCHEMA = Schema(
    "curvature",
    (
        *(
            Entry(f"{prefix}{name}", "f" if name != "converged" else "u", (size,))
            for prefix, size in _ENDS
            for name in ("eigenvalues", "residuals", "converged")
        ),
        *(Entry(name, "f", (), required=False) for name in _ESTIMATE),
        *(Entry(name, "f", ("g",), required=False) for name in ("density", "density_spread", "density_grid")),
        *(Entry(f"density_{name}", "f", ("probes", "steps"), required=False) for name in ("nodes", "weights")),
        *(Entry(f"layers/{name}", "fi", ("layers",), required=False) for name in _LAYERS),
        *(Entry(f"checkpoints/{name}", "fi", ("c",), required=False) for name in _HISTORY[:3]),
        *(Entry(f"checkpoints/{name}", "f", ("c", "ck"), required=False) for name in _HISTORY[3:]),
    ),
    {
        "format": "text", "format_version": "number", "config": "object", "settings": "object", "provenance": "object",
        "finished": "text", "parameters": "number", "products": "number",
    },
)  # fmt: skip


def is_curvature(file: h5py.File) -> bool:
    """Return True for an open curvature file."""
    return bool(python_value(file.attrs.get("format")) == CURVATURE_FORMAT)


def write_curvature(path: str | os.PathLike[str], curvature: Curvature, overwrite: bool = False) -> None:
    """Write a curvature file; the complete file replaces an existing one in one step.

    Args:
        path: the file.
        curvature: results, complete or not.
        overwrite: replace an existing file.

    Raises:
        StoreError: the file exists and ``overwrite`` is False, or it cannot be written.
    """
    with create_hdf5(Path(path), overwrite) as file:
        attributes = {
            "format": CURVATURE_FORMAT,
            "format_version": CURVATURE_VERSION,
            "config": curvature.config.to_json(),
            "settings": curvature.metadata.settings,
            "provenance": curvature.metadata.provenance,
            "finished": curvature.metadata.finished,
            "parameters": curvature.parameters,
            "products": curvature.products,
        }
        for key, value in attributes.items():
            file.attrs[key] = as_attribute(value)
        for prefix, _ in _ENDS:
            for name in ("eigenvalues", "residuals", "converged"):
                values = getattr(curvature, prefix + name)
                file[prefix + name] = values.astype(np.uint8) if name == "converged" else values
            for name, values in getattr(curvature, f"{prefix}eigenvectors").items():
                file[f"{prefix}eigenvectors/{name}"] = values
        for prefix, found in (("trace", curvature.trace), ("trace_hutchinson", curvature.hutchinson)):
            if found is not None:
                file[prefix] = found.value
                file[prefix].attrs["probes"] = found.probes
                for key in ("stderr", "low", "high"):
                    file[f"{prefix}_{key}"] = getattr(found, key)
        if curvature.density is not None:
            _write_density(file, curvature.density)
        if curvature.layers is not None:
            for name in _LAYERS:
                file[f"layers/{name}"] = getattr(curvature.layers, name)
            file["layers"].attrs["names"] = json.dumps(curvature.layers.names)
        if curvature.history is not None:
            for name in _HISTORY:
                file[f"checkpoints/{name}"] = getattr(curvature.history, name)


def _write_density(file: h5py.File, density: SpectralDensity) -> None:
    file["density"], file["density_spread"], file["density_grid"] = density.values, density.spread, density.grid
    file["density_nodes"], file["density_weights"] = density.quadrature.nodes, density.quadrature.weights
    file["density"].attrs["width"] = density.width
    file["density_grid"].make_scale("eigenvalue")
    for name in ("density", "density_spread"):
        file[name].dims[0].attach_scale(file["density_grid"])


def read_curvature(path: str | os.PathLike[str], *, vectors: bool = True) -> Curvature:
    """Read a curvature file, complete or not.

    Args:
        path: the file.
        vectors: read eigenvectors, too, which take ``2 k`` times the memory of the weights.

    Raises:
        StoreError: the file cannot be read, or is no curvature file.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        if not is_curvature(file):
            raise StoreError(f"{path} is no curvature file; `landscape curvature` writes one")
        SCHEMA.require(file, path)
        ends: dict[str, Any] = {}
        for prefix, _ in _ENDS:
            for name in ("eigenvalues", "residuals"):
                ends[prefix + name] = read_array(file[prefix + name])
            ends[f"{prefix}converged"] = read_array(file[f"{prefix}converged"]).astype(bool)
            group = f"{prefix}eigenvectors"
            ends[group] = _tensors(file, group, len(ends[f"{prefix}eigenvalues"])) if vectors else {}
        attributes = read_attributes(file)
        return Curvature(
            config=CurvatureConfig.from_json(json.loads(attributes["config"])),
            parameters=int(attributes["parameters"]),
            trace=_estimate(file, "trace"),
            hutchinson=_estimate(file, "trace_hutchinson"),
            density=_density(file),
            layers=_layers(file),
            history=_history(file),
            products=int(attributes["products"]),
            metadata=CurvatureMetadata(
                json.loads(attributes["settings"]), json.loads(attributes["provenance"]), attributes["finished"]
            ),
            **ends,
        )


def _tensors(file: h5py.File, group: str, count: int) -> Mapping[str, npt.NDArray[Any]]:
    """Return the datasets of a group by name; each has ``count`` rows."""
    found = {}
    for name, node in file.get(group, {}).items():
        if not isinstance(node, h5py.Dataset) or node.dtype.kind != "f" or node.shape[:1] != (count,):
            raise ValueError(f"{group}/{name}: expected floating-point numbers, one row per eigenvalue")
        found[name] = read_array(node)
    # HDF5 sorts by name; the order of the network is that of the list.
    order: list[str] = json.loads(python_value(file.attrs["settings"])).get("tensors", [])
    return {name: found[name] for name in [*(n for n in order if n in found), *(n for n in found if n not in order)]}


def _estimate(file: h5py.File, prefix: str) -> Estimate | None:
    if prefix not in file:
        return None
    value, stderr, low, high = (float(read_array(file[f"{prefix}{key}"])) for key in ("", "_stderr", "_low", "_high"))
    return Estimate(value, stderr, low, high, int(file[prefix].attrs["probes"]))


def _density(file: h5py.File) -> SpectralDensity | None:
    if "density" not in file:
        return None
    quadrature = Quadrature(read_array(file["density_nodes"]), read_array(file["density_weights"]))
    grid, values, spread = (read_array(file[name]) for name in ("density_grid", "density", "density_spread"))
    return SpectralDensity(grid, values, spread, float(file["density"].attrs["width"]), quadrature)


def _layers(file: h5py.File) -> LayerCurvature | None:
    if "layers" not in file:
        return None
    names = tuple(json.loads(python_value(file["layers"].attrs["names"])))
    return LayerCurvature(names, *(read_array(file[f"layers/{name}"]) for name in _LAYERS))


def _history(file: h5py.File) -> CurvatureHistory | None:
    if "checkpoints" not in file:
        return None
    return CurvatureHistory(*(read_array(file[f"checkpoints/{name}"]) for name in _HISTORY))


def require_same_settings(settings: Mapping[str, Any], stored: Mapping[str, Any], path: Path) -> None:
    """Raise ``StoreError`` unless the settings of a computation are those in its file; name each that differs."""
    plain = json.loads(json.dumps(settings))
    flat, there = ({**each, **each.get("config", {})} for each in (plain, stored))
    listed = [
        f"{key}: the file has {str(there.get(key))[:60]}, this computation {str(value)[:60]}"
        for key, value in flat.items()
        if key != "config" and value != there.get(key)
    ]
    if listed:
        raise StoreError(
            f"{path} was made with other settings: {'; '.join(listed)}. Choose another file, repeat the settings of "
            "this one, or overwrite it"
        )

"""Principal components of a path that is being recorded, without reading checkpoints: state, plane and trajectory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape._utils.files import open_replacing
from landscape._utils.provenance import Environment
from landscape.errors import CheckpointError
from landscape.geometry.path_sketch import BATCH, PathSketch, SketchedPath, flattened
from landscape.geometry.plane import Plane
from landscape.geometry.trajectory import Trajectory
from landscape.geometry.weights import Weights
from landscape.surface.trajectory_files import TrajectoryMetadata, write_trajectories
from landscape.training.checkpoint import save_checkpoint
from landscape.training.record import RecordingSettings
from landscape.training.run import Run
from landscape.training.torch_files import load_plain

FILE = "components.h5"
"""Trajectory file with the plane, in the directory of the run."""
_STATE, _FORMAT = "components.pt", "landscape-components-1"
SECONDS_BETWEEN_STATES = 300.0
"""Time after which the state is saved, so that a kill loses no more of the path than that."""


def rows_of(components: int) -> int:
    """Return the number of rows of the sketch for a number of components."""
    return 4 * components + 4


@dataclass(frozen=True)
class _Point:
    step: int
    epoch: float
    loss: float
    rate: float


class PathComponents:
    """The sketch of a recorded path and its files.

    Attributes:
        steps: steps that are part of it.
    """

    def __init__(self, run: Run, settings: RecordingSettings) -> None:
        """Open the state in the directory of a run, or begin a new one.

        Raises:
            CheckpointError: the state is damaged, or has another number of rows.
        """
        self._run, self._axes, self._checkpoints = run, settings.components, settings.checkpoints
        self._sketch: PathSketch | None = None
        self._points: list[_Point] = []
        self._last: tuple[Mapping[str, Tensor], dict[str, Tensor]] | None = None
        self._saved = time.monotonic()
        state = run.path / _STATE
        if state.exists():
            self._load(state)

    @property
    def steps(self) -> list[int]:
        """Steps of the points, ascending."""
        return [point.step for point in self._points]

    def add(
        self,
        tensors: Mapping[str, Tensor],
        moving: Mapping[str, Tensor],
        step: int,
        epoch: float,
        loss: float,
        rate: float,
    ) -> None:
        """Add the weights of a step.

        Args:
            tensors: all tensors of the network.
            moving: its parameters by name, which move in a plane.
            step: number of completed steps.
            epoch: number of passes over the training data.
            loss: loss over the training split; NaN if unknown.
            rate: learning rate; NaN if unknown.
        """
        point = flattened(Weights(moving))
        if self._sketch is None:
            self._sketch = PathSketch(len(point), rows_of(self._axes))
        self._sketch.add(point)
        self._points.append(_Point(step, epoch, loss, rate))
        # Copies, since the training continues; without checkpoints, the last weights are saved in full.
        full = {} if self._checkpoints else {name: _copy(tensor) for name, tensor in tensors.items()}
        self._last = full, {name: full[name] if name in full else _copy(tensor) for name, tensor in moving.items()}
        if time.monotonic() - self._saved > SECONDS_BETWEEN_STATES:
            self._save_state(full)

    def missing(self) -> list[int]:
        """Return the steps whose checkpoints are there, and that a kill left out of the state."""
        last = self._points[-1].step if self._points else -1
        return [step for step in self._run.saved_steps if step > last] if self._checkpoints else []

    def close(self) -> SketchedPath | None:
        """Save the state, and write plane and trajectory if the path has enough points.

        Returns:
            The components; None if the path has too few points, or they span too few dimensions.
        """
        if self._sketch is None or self._last is None:
            return None
        tensors, moving = self._last
        origin = Weights(moving)
        try:
            found = self._sketch.components(origin, self._axes)
        except ValueError:
            found = None
        if found is not None:
            points = np.array([astuple(point) for point in self._points])
            unknown = np.full(len(points), np.nan)
            trajectory = Trajectory(
                self._run.path.name, points[:, 0].astype(np.int64), points[:, 1], found.coordinates, found.distance,
                found.displacement, points[:, 2], unknown, points[:, 3],
            )  # fmt: skip
            metadata = TrajectoryMetadata(
                Environment.current(("landscape", "torch", "numpy", "h5py")),
                (str(self._run.path.resolve()),),
                other={"sketch": describe(found, self._sketch.rows)},
            )
            plane = Plane(origin, found.directions)
            write_trajectories(self._run.path / FILE, [trajectory], plane=plane, metadata=metadata, overwrite=True)
        self._save_state(tensors)
        return found

    def _save_state(self, tensors: Mapping[str, Tensor]) -> None:
        assert self._sketch is not None
        point = self._points[-1]
        if not self._checkpoints:
            save_checkpoint(
                self._run.checkpoint_path(point.step), tensors, step=point.step, epoch=point.epoch,
                metrics={} if np.isnan(point.loss) else {"train_loss": point.loss}, learning_rate=point.rate,
            )  # fmt: skip
        state = {
            "format": _FORMAT,
            "sketch": self._sketch.state_dict(),
            "points": torch.tensor([astuple(each) for each in self._points], dtype=torch.float64),
        }
        with open_replacing(self._run.path / _STATE, durable=True, on_error=CheckpointError) as file:
            torch.save(state, file)
        if not self._checkpoints:
            for step in self._run.saved_steps[:-1]:
                self._run.checkpoint_path(step).unlink(missing_ok=True)
        self._saved = time.monotonic()

    def _load(self, path: Path) -> None:
        stored = load_plain(path, mapped=False)
        try:
            if stored["format"] != _FORMAT:
                raise ValueError(f"expected format {_FORMAT!r}")
            self._sketch = PathSketch.from_state_dict(stored["sketch"])
            rows = stored["points"].tolist()
            self._points = [_Point(int(row[0]), *row[1:]) for row in rows]
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(f"{path} is damaged ({error})") from error
        if self._sketch.rows != rows_of(self._axes):
            raise CheckpointError(
                f"{self._run.path} was recorded with another number of components; repeat it, or choose another "
                "directory"
            )


def _copy(tensor: Any) -> Any:
    return tensor.detach().cpu().clone() if isinstance(tensor, Tensor) else tensor


def describe(found: SketchedPath, rows: int) -> str:
    """Return how accurate the components of a sketch are, as a sentence."""
    return (
        f"computed while recording, from a sketch of {rows} rows: the sine of the angle to the exact components is at "
        f"most {found.angle:.2g}, and coordinates are off by at most {float(found.error.max()):.2g}; memory: "
        f"{rows + BATCH + 4} times the weights in float32"
    )

"""Record the training of any program as a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from landscape._utils.names import unknown
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.training.optimizers import describe_built
from landscape.training.record import RecordingSettings, to_plain
from landscape.training.recorded_run import create_recorded
from landscape.workflows.recording.recorder import Recorder, Schedule
from landscape.workflows.sources import PathName

FULL_ONE_IN = 10
"""Checkpoints for each full one, with ``differences=True``."""
_DTYPES = ("bfloat16", "float16")


def record(
    path: PathName,
    problem: str | ProblemSpec | Problem | None = None,
    *,
    optimizer: Optimizer | None = None,
    settings: Mapping[str, Any] | None = None,
    every: int | Schedule = 1,
    dtype: str | None = None,
    differences: bool | int = False,
    checkpoints: bool = True,
    components: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    active: bool | None = None,
    late_values: bool = False,
) -> Recorder:
    """Record the weights of a training loop as a run that every other function and command reads.

    ``with landscape.record("run", problem="mine.py:problem") as keep:`` gives a function to be called in the loop:
    ``keep(model, step=i, loss=loss)``; see :class:`Recorder`. Whatever it returned from is on the disk, and survives a
    kill. A run that exists is continued: steps beyond the last one are added, and those that are there with the same
    weights are left as they are.

    Args:
        path: directory of the run.
        problem: the problem that the weights belong to, for measuring it elsewhere on the plane: a reference to a
            function that returns it (``"mine.py:problem"``), a spec, or the problem itself, which is remembered by its
            description. None if it is to be named later.
        optimizer: the optimizer; its name, arguments and learning rate are recorded.
        settings: what else should be known about the training (``{"batch_size": 64, "epochs": 10}``); plain values.
        every: number of steps between checkpoints, or a function of the step that says whether it is kept.
        dtype: ``"bfloat16"`` or ``"float16"`` to round matrices, at half the size; a relative error of ``2**-8`` or
            ``2**-11``. Tensors of one dimension, and those beyond the range of the type, are kept as they are.
        differences: True to store nine of ten checkpoints as differences to the one before that is full, or the number
            of checkpoints for each full one. Without loss, or with ``dtype`` rounded, at an error relative to the
            distance from the full one.
        checkpoints: False to keep the last weights only, beside the principal components of the path. A kill then
            loses the path since the state was saved, every five minutes.
        components: number of principal components of the path to compute while recording, from a sketch of
            ``4 components + 4`` vectors (Frequent Directions). When the recording ends, ``components.h5`` in the
            directory has the plane, the path in it, and bounds on the error of both; it is what
            :func:`landscape.project` writes. Memory: the sketch and eight more vectors, each of the size of the weights
            in float32.
        resume: True to replace steps that were recorded before with other weights, and all steps after them: for a
            training that was resumed from an earlier step and doesn't repeat itself bit for bit.
        overwrite: True to delete a run that is already there.
        active: False to record nothing; by default False on all ranks but the first of ``torch.distributed`` (or of
            ``torchrun``).
        late_values: True to write the values of a step only when the next one is kept, so that ``keep.note`` can add
            to them.

    Returns:
        The recorder, for a ``with`` block.

    Raises:
        ValueError: an option out of range, or an unknown name.
        CheckpointError: the directory holds a run of another problem or something else, or cannot be written.
    """
    recording = RecordingSettings(
        every=None if callable(every) else _positive("every", every),
        dtype=dtype,
        differences=FULL_ONE_IN if differences is True else int(differences),
        checkpoints=checkpoints,
        components=components,
        given=to_plain(dict(settings or {})),
    )
    if dtype is not None and dtype not in _DTYPES:
        raise unknown("dtype", dtype, _DTYPES)
    if recording.differences < 0 or recording.differences == 1:
        raise ValueError(f"differences: expected True, False or at least 2 checkpoints, got {differences}")
    if not isinstance(components, int) or isinstance(components, bool) or not 0 <= components <= 3:
        raise ValueError(f"components: expected 0 to 3, got {components!r}")
    if not checkpoints and not components:
        raise ValueError("expected checkpoints, or components of the path (components=2), or both")
    if not (_is_first_rank() if active is None else active):
        return Recorder(None)
    run, known = create_recorded(
        Path(path),
        problem=_description(problem),
        recording=recording,
        optimizer=None if optimizer is None else describe_built(optimizer),
        overwrite=overwrite,
    )
    return Recorder(run, known, every if callable(every) else None, optimizer, resume, late_values)


def _description(problem: str | ProblemSpec | Problem | None) -> Mapping[str, Any]:
    if problem is None:
        return {}
    if isinstance(problem, str):
        place, colon, _ = problem.rpartition(":")
        if not colon or (place.endswith(".py") and not Path(place).expanduser().is_file()):
            raise ValueError(
                f"problem: expected a reference like 'mine.py:problem' to a file that exists, got {problem!r}"
            )
        problem = ProblemSpec(factory=problem)
    if isinstance(problem, ProblemSpec | Problem):
        return problem.describe()
    raise TypeError(f"problem: expected a reference, a ProblemSpec or a Problem, got {type(problem).__name__}")


def _positive(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}: expected a number of steps of at least 1, or a function of the step, got {value!r}")
    return value


def _is_first_rank() -> bool:
    """Return True unless this process is a further rank of a distributed training."""
    import torch.distributed as distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0
    rank = os.environ.get("RANK", "0")  # of torchrun, before the process group is initialized
    return not rank.isdecimal() or int(rank) == 0

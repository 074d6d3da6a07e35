"""Runs that another program trains: created, continued and ended by a recorder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from landscape._utils.provenance import now
from landscape.training.record import OptimizerRecord, RecordingSettings, RunRecord, to_plain
from landscape.training.run import Run


def create_recorded(
    path: str | Path,
    *,
    problem: Mapping[str, Any],
    recording: RecordingSettings,
    optimizer: OptimizerRecord | None = None,
    overwrite: bool = False,
) -> tuple[Run, RunRecord]:
    """Create a run for a training by another program, or open the recorded one in the directory.

    Args:
        path: a directory that doesn't exist, is empty, or holds a recorded run.
        problem: description of the problem; empty if it isn't known.
        recording: settings of the recording.
        optimizer: the optimizer and its arguments; None if unknown.
        overwrite: delete an existing run first.

    Returns:
        The run, and the record of what is known now; see :func:`reopen`.

    Raises:
        CheckpointError: the directory holds a run of another problem, one that was not recorded, or something else.
    """
    known = None if optimizer is None else replace(optimizer, arguments=to_plain(optimizer.arguments))
    record = RunRecord(to_plain(problem), known, None, 0, 0, now(), recording=recording)
    return Run.create_from(Path(path), record, overwrite), record


def reopen(run: Run, given: RunRecord) -> None:
    """Record that a recorded run continues, with the settings of now; what is known already isn't forgotten.

    Args:
        run: a recorded run that this process has locked.
        given: what the program says about the run now.
    """
    run.update(
        problem=given.problem or run.record.problem,
        optimizer=given.optimizer or run.record.optimizer,
        recording=given.recording,
        finished=None,
    )


def mark_recorded(run: Run, step: int) -> None:
    """Record that the recording ended without an error at ``step``."""
    run.update(finished=now(), steps=step)

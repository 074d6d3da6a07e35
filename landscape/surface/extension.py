"""Extension of a surface through training by checkpoints that were saved, or chosen, later."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

from landscape.surface.hdf5 import create_hdf5, open_hdf5
from landscape.surface.layout import spread_last_axis, write_finished
from landscape.surface.metadata import Header, as_attribute
from landscape.surface.store import read_settings


def extend_surface(path: str | os.PathLike[str], header: Header) -> tuple[int, ...]:
    """Add the checkpoints of ``header`` that a surface file through training lacks, with points to be computed.

    Nothing happens unless the sweep differs from the file in further checkpoints only. The file is replaced in one
    step; values, plane and provenance stay as they are.

    Args:
        path: a surface file.
        header: header of the sweep that is about to resume the file.

    Returns:
        Steps that were added.

    Raises:
        StoreError: the file is damaged, or another process has it open.
    """
    path, settings = Path(path).resolve(), header.settings  # a link stays a link
    with open_hdf5(path) as file:
        stored = read_settings(file, path)
    states = dict(zip(settings.steps, settings.states, strict=True))
    added = tuple(step for step in settings.steps if step not in stored.steps)
    unchanged = all(states.get(step) == state for step, state in zip(stored.steps, stored.states, strict=False))
    extended = replace(
        stored, axes=(*stored.axes[:-1], *settings.axes[-1:]), steps=settings.steps, states=settings.states
    )
    if not stored.steps or not added or not unchanged or settings.differences(extended):
        return ()
    mode = stat.S_IMODE(path.stat().st_mode)
    with create_hdf5(path, overwrite=True, like=path) as file:
        spread_last_axis(file, header.coordinates, [settings.steps.index(step) for step in stored.steps])
        file.attrs["settings"] = as_attribute(extended.to_json())
        file.attrs["checkpoints"] = as_attribute([one.to_json() for one in header.metadata.checkpoints])
        write_finished(file, False)
    path.chmod(mode)
    return added

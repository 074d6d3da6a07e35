"""The sittings of a run: who worked on it, where and how far, noted in its ``run.json``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from landscape._utils.provenance import Environment, now
from landscape.errors import CheckpointError
from landscape.training.run import Run, is_run

_log = logging.getLogger(__name__)


@contextmanager
def session(run: Run, device: torch.device) -> Iterator[dict[str, Any]]:
    """Note a sitting at its start, and at its end how it went (``finished``, ``stopped`` or the error).

    Yields:
        The note, for ``from_step`` and ``to_step``. A sitting that was killed has no ``ended``.
    """
    note = {
        **Environment.current().to_json(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "started": now(),
        "from_step": 0,
        "to_step": 0,
        "ended": None,
        "outcome": None,
    }
    run.record["sessions"].append(note)
    run.save_record()
    try:
        yield note
    except BaseException as error:
        try:
            _end(run, note, f"{type(error).__name__}: {error}")
        except CheckpointError as second:  # the same full disk, most likely; the first error matters
            _log.warning("%s", second)
        raise
    _end(run, note, "finished" if run.finished else "stopped")


def _end(run: Run, note: dict[str, Any], outcome: str) -> None:
    if is_run(run.path):  # a run that came to nothing is deleted
        note |= {"ended": now(), "outcome": outcome}
        run.save_record()

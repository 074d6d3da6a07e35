"""Processes that work on a run, as its record lists them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from landscape._utils.provenance import Environment, now
from landscape.errors import CheckpointError
from landscape.training.record import SessionRecord
from landscape.training.run import Run, is_run

_log = logging.getLogger(__name__)


@dataclass
class Session:
    """The steps of one process that works on a run.

    Attributes:
        from_step: step at which it began.
        to_step: step that it has reached.
    """

    from_step: int = 0
    to_step: int = 0


@contextmanager
def session_of(run: Run, device: torch.device | None) -> Iterator[Session]:
    """Record a process that works on the run: at its start, and at its end with the outcome.

    Args:
        run: a run that this process has locked.
        device: device of the computation; None if it isn't known.

    Yields:
        The session, whose ``from_step`` and ``to_step`` the caller sets.
    """
    session = Session()
    started = SessionRecord(
        environment=Environment.current(),
        device=str(device or ""),
        threads=torch.get_num_threads(),
        started=now(),
    )
    earlier = run.record.sessions
    run.update(sessions=(*earlier, started))

    def end(outcome: str) -> None:
        if is_run(run.path) and not run.is_displaced:  # a run without a single step is deleted after an error
            ended = replace(started, from_step=session.from_step, to_step=session.to_step, ended=now(), outcome=outcome)
            run.update(sessions=(*earlier, ended))

    try:
        yield session
    except BaseException as error:
        try:
            end(f"{type(error).__name__}: {error}")
        except CheckpointError as second:  # the same full disk, most likely; the first error matters
            _log.warning("%s", second)
        raise
    end("finished" if run.finished else "stopped")

"""Training: optimizers by name, the training loop, and runs with their checkpoints on disk."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landscape.training.checkpoint import Checkpoint as Checkpoint
    from landscape.training.checkpoint import load_checkpoint as load_checkpoint
    from landscape.training.checkpoint import load_into as load_into
    from landscape.training.checkpoint import save_checkpoint as save_checkpoint
    from landscape.training.record import OptimizerRecord as OptimizerRecord
    from landscape.training.record import RunRecord as RunRecord
    from landscape.training.record import SessionRecord as SessionRecord
    from landscape.training.run import Run as Run
    from landscape.training.run import is_run as is_run
    from landscape.training.run import run_of as run_of
    from landscape.training.sadam import SAdam as SAdam
    from landscape.training.sadam import SAMSGrad as SAMSGrad
    from landscape.training.settings import TrainingSettings as TrainingSettings
    from landscape.training.trainer import TrainingProgress as TrainingProgress
    from landscape.training.training import train as train
else:
    from landscape._utils.lazy import lazy

    __getattr__, __dir__, __all__ = lazy(
        __name__,
        {
            "Checkpoint": "checkpoint",
            "OptimizerRecord": "record",
            "Run": "run",
            "RunRecord": "record",
            "SAMSGrad": "sadam",
            "SAdam": "sadam",
            "SessionRecord": "record",
            "TrainingProgress": "trainer",
            "TrainingSettings": "settings",
            "is_run": "run",
            "load_checkpoint": "checkpoint",
            "load_into": "checkpoint",
            "run_of": "run",
            "save_checkpoint": "checkpoint",
            "train": "training",
        },
    )

"""Training: optimizers by name, the training loop, and runs with their checkpoints on disk."""

from landscape._utils.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Checkpoint": "checkpoint",
        "Run": "run",
        "SAMSGrad": "sadam",
        "SAdam": "sadam",
        "TrainingProgress": "trainer",
        "TrainingSettings": "settings",
        "is_run": "run",
        "load_checkpoint": "checkpoint",
        "load_into": "checkpoint",
        "run_of": "run",
        "save_checkpoint": "checkpoint",
        "train": "trainer",
    },
)

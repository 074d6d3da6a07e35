"""Training: optimizers by name, the loop, and what it leaves on disk: runs and their checkpoints."""

from landscape._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Checkpoint": "checkpoint",
        "Progress": "sitting",
        "Run": "run",
        "SAMSGrad": "sadam",
        "SAdam": "sadam",
        "TrainingSettings": "settings",
        "evaluation_mode": "measure",
        "is_run": "run",
        "load_checkpoint": "checkpoint",
        "load_into": "checkpoint",
        "run_of": "run",
        "save_checkpoint": "checkpoint",
        "train": "loop",
    },
)

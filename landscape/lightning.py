"""Modules of Lightning as they are, measured by their own validation step, and the path of a ``Trainer`` as a run.

Both the packages ``lightning`` and ``pytorch_lightning`` will do (``pip install 'landscape[lightning]'``).
"""

from typing import TYPE_CHECKING, Any

from landscape.integrations.lightning import problem as problem

if TYPE_CHECKING:
    from landscape.workflows.recording.lightning import RecordCallback as RecordCallback

__all__ = ["RecordCallback", "problem"]


def __getattr__(name: str) -> Any:
    if name == "RecordCallback":  # whose base class is Lightning's, imported with it
        from landscape.workflows.recording.lightning import RecordCallback

        return RecordCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

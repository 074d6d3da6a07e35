"""Modules of Lightning as they are, measured by their own validation step.

Both the packages ``lightning`` and ``pytorch_lightning`` will do (``pip install 'landscape[lightning]'``).
"""

from landscape.integrations.lightning import problem as problem

__all__ = ["problem"]

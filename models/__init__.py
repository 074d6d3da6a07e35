"""Architectures by name: the networks of Li et al. (2018) and small networks of other kinds.

    from landscape import models

    model = models.build("resnet20_noshort", num_classes=10, in_channels=1)

The package is independent of the rest of landscape. Initial weights come from torch's global random state.
"""

from .registry import build, names, parameters

__all__ = ["build", "names", "parameters"]

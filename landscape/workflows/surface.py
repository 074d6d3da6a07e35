"""Compute a surface: a problem, a plane and a grid in, a file or a surface in memory out."""

from landscape.sweep.sweep import run_sweep as compute_surface

__all__ = ["compute_surface"]

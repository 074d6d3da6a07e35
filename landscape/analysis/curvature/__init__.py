"""Curvature of the loss at a point: eigenpairs, trace and spectral density, and their file."""

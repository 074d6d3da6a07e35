"""Curvature of the loss at checkpoints, on one or many ranks, resumable."""

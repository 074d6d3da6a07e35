"""Alignment of two networks: their permutation symmetries, and the permutation that makes them most alike."""

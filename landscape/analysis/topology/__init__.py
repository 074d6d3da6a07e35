"""Topology of surfaces: merge trees, persistence and basins."""

"""Sharpness of networks and size of their basins, each number with an interval."""

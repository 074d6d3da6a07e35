"""Engines: ways to compute a network's outputs at a point, the module itself and faster forms of it."""

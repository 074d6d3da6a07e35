"""Ways to a network's outputs at a point: the module itself, and faster forms that compute the same."""

"""Damages files of every kind, runs every reader on them, and checks that nothing worse than a clear error happens."""

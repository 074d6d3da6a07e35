"""Architectures by name; nothing here knows of the rest of the package."""

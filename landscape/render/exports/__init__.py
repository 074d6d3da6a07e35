"""Surfaces and paths as files for other programs, and as a page for the browser."""

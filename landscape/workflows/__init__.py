"""Whole tasks, one function each: what the command line does, for Python users too."""

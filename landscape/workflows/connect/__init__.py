"""Connections between networks: lines, curves, barriers, alignment and merged weights."""

"""Figures by matplotlib: curves, contours, panels, paths, histories, and optimizers on functions."""

"""Functions of one and two variables, for teaching."""

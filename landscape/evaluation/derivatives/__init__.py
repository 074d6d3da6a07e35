"""Derivatives of the loss: gradients, products with curvature matrices, and extreme eigenpairs."""

"""Effective dimension of networks: formulas for attention and polynomial convolutions, and the rank of the Jacobian."""

"""Conditional densities ``ρ(z | c)`` of demonstrated latents, with their gradients."""

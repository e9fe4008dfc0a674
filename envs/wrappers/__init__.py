"""Wrappers: worlds as Gymnasium environments, and perturbations."""

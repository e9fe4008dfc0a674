"""Perturbations of any Gymnasium environment, each with a receipt: its measured effect."""

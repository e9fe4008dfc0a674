"""Metrics of encoders and densities."""

"""Benchmarks: their runs and their result files."""

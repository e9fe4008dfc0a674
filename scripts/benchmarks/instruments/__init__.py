"""Benchmarks of the analysis tools, a file each."""

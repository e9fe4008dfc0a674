"""Experiments: grids of runs, their execution on this machine or on a cluster, and the records of their results."""

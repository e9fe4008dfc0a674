"""The command line, the benchmarks and their reports."""

"""Encoders from the literature that ours are compared with."""

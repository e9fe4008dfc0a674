"""Symmetry discovery: recover an unknown finite group from data, and name it."""

"""Lie groups: elements as arrays of coordinates, with composition, exponential map, distance and matrix actions."""

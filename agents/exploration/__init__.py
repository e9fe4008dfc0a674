"""Exploration: collect transitions in which the agent touches the object, without any ground truth."""

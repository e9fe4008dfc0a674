"""Environments of every kind as batches with one way of being reset; the rollout engine acts in them."""

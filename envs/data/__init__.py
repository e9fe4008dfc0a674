"""Transitions: their collection, storage, and the policies that make them."""

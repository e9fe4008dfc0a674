"""Evaluate policies: rollouts, paired trials and statistics."""

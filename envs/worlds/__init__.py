"""Simulated worlds: batches of identical MuJoCo scenes in which a group acts."""

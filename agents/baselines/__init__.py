"""Baselines of the recovery benchmark: DAgger, offline reinforcement learning, and latents without equivariance."""

"""Encoders, their training, densities of latents, metrics and baselines. No simulator is needed."""

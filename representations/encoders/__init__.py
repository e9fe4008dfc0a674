"""Encoders: maps from images to named latents on which a group acts."""

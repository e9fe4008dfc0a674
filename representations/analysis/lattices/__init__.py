"""Lattices: orthogonality defect, LLL, Gauss moves, learned reduction, and periods of latents."""

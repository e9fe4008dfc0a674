"""Tools that answer questions about encoders and latents, a folder each."""

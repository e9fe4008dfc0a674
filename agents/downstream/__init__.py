"""Downstream uses of class-pose encoders: maps and plans."""

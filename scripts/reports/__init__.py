"""Figures, videos and HTML pages of results."""

"""Readers and writers of the data sets of other packages."""

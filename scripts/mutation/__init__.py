"""Mutation testing: change the code in small ways, and count the changes that the tests notice."""

"""Encoders in use: policies, recovery from out-of-distribution states, planning, mapping and evaluation."""

"""Recovery from out-of-distribution states, and the conformal calibration of its trigger."""

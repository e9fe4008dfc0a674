"""Training: configurations, learners, losses and the training loop."""

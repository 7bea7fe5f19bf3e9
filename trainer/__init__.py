"""Training: the components that a config names, the batch loop, fit, and the evaluation."""

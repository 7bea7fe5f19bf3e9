"""Training: the parts a config names, the batch loop, the evaluation, cross-validation."""

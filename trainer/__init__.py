"""Training: the parts a config names, the batch loop, the evaluation, and the programs around them."""

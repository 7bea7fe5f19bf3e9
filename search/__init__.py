"""Hyper-parameters: the space they are drawn from, the trials, and what they show."""

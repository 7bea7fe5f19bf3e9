"""Trainings spread over cores, GPUs and machines with Ray."""

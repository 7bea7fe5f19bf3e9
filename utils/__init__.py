"""Helpers below everything else: configs, files, logs, checkpoints, and readers of foreign bytes."""

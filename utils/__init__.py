"""Helpers below everything else: configs, files, logs, checkpoints, readers of foreign bytes."""

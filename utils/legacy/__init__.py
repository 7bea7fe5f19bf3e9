"""The original project's files, and checkpoints of anybody, read without running what they name."""

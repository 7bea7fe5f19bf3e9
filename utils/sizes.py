"""Sizes that the whole project agrees on."""

EMBEDDING_SIZE = 512
"""Numbers of an ArcFace embedding."""

NUM_FOLDS = 5
"""Folds of Adience."""

"""Sizes that the whole project agrees on."""

EMBEDDING_SIZE = 512
"""Numbers of an ArcFace embedding."""

NORM_BOUNDS = (0.99, 1.01)
"""An embedding of a length within these counts as one of unit length."""

NUM_FOLDS = 5
"""Folds of Adience."""

NUM_GENDERS = 2
"""Classes of gender in the data sets: male 0, female 1."""

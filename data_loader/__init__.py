"""From data files to batches of embeddings and class numbers."""

"""From downloaded images to clean embeddings: requests to a face server, and the cleaning."""

"""Finds and embeds faces in this process, with the networks of a model pack."""

"""The server: models loaded for use, requests read, answers written."""

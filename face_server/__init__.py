"""Serves the face networks over HTTP, with the contract of the insightface container."""

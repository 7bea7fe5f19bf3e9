"""A synthetic stand-in for the three data sets and the face server, for the demo and the tests."""

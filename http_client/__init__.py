"""A client of one HTTP server, with time limits, TLS and addresses as users write them."""

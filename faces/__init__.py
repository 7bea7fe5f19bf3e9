"""Pictures and what is sent of them: one decoder for extraction, both servers and the client."""

"""A face server on insightface and onnxruntime, with the contract of the insightface container."""

"""The conformance suite on every backend, and the proof that it can fail."""

"""What answers: the Ray Serve application over vLLM, the classifier endpoint, the parity check at deploy."""

"""Where and how things run: config, command line, Ray session, storage, run records, model registry."""

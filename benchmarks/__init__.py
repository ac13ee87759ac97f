"""Benchmarks of eventstate against the raw limit of SQLite and against its peers: `python -m benchmarks`."""

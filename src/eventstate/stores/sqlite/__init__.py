"""One SQLite file: the embedded default."""

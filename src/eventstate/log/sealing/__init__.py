"""Seals of the streams of a governor: taken, listed, exported, and read back to be held against the streams."""

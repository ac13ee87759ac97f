"""Streams of events with their heads and snapshots."""

"""Streams out of one store and into another, with their history and its chain: files, copies."""

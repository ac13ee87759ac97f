"""Runs, their workstreams and their jobs: who did what, and how it ended."""

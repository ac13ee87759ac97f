"""Queues of jobs: their rules, their workers, and processes that are killed."""

"""Task status in a job: each task reports its own, everybody sees the lowest, live."""

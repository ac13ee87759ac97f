"""Jobs: task status, runs and workstreams, tools, a queue with workers, and the view of an orchestration."""

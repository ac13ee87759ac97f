"""The view of an orchestration: a fold of its events, in memory or over the log."""

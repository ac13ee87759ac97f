"""Jobs from files, the tools that do them, and the orchestrator that brings both together."""

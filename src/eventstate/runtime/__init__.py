"""The only layer that waits, tells the time or draws random numbers."""
